"""Dialogs in which one side plays both."""

from chains.models.fake import FakeChat
from tuning.generate import dialog
from tuning.generate.ask import Asker
from tuning.generate.journal import Journal

TURNS = [{"role": "user", "content": "hi {topic}"}, {"role": "assistant", "content": "hello"}]


def test_the_assistants_turn_is_asked_as_a_chat_and_the_users_as_a_part_to_play():
    scene = dialog.Scene("en", "Be brief.", "tea")
    assert dialog.prompt(TURNS[:1], scene) == [{"role": "system", "content": "Be brief."}, TURNS[0]]
    (opening,) = dialog.prompt([], scene)
    assert "talks to an assistant about tea" in opening["content"]
    (following,) = dialog.prompt(TURNS, scene)
    assert following["content"].endswith("person: hi {topic}\nassistant: hello\nperson:")
    (korean,) = dialog.prompt(TURNS, dialog.Scene("ko"))
    assert korean["content"].endswith("어시스턴트: hello\n사람:")


def test_turns_are_kept_as_they_are_said_and_taken_back(tmp_path):
    with Journal(tmp_path / "o", {}) as journal:
        writing = dialog.Writing(journal)
        assert not writing.undo() and not writing.close()
        writing.say("one", "model")
        assert not writing.close()  # the assistant speaks last
        writing.say("two", "edited")
        writing.say("three", "person")
        assert writing.undo() and writing.close()
        writing.say("four", "person")
    with Journal(tmp_path / "o", {}) as journal:
        again = dialog.Writing(journal)
        assert [turn["content"] for turn in again.dialogs[0]] == ["one", "two"]
        assert again.open == [{"role": "user", "content": "four"}]
        assert again.undo() and again.undo()  # the finished dialog is open again
        assert again.dialogs == [] and [turn["content"] for turn in again.open] == ["one", "two"]


def test_the_model_alone_writes_dialogs_side_by_side(tmp_path):
    asker = Asker(FakeChat(["a", "b", "c", "d"]))
    with Journal(tmp_path / "o", {}) as journal:
        made = dialog.alone(asker, journal, 2, dialog.Scene(system="S"), exchanges=1)
    assert [[turn["content"] for turn in turns] for turns in made.dialogs] == [["a", "c"], ["b", "d"]]
    assert [message.text for message in asker.llm.prompts[2]] == ["S", "a"]


def test_a_dialog_like_another_and_one_with_an_empty_turn_are_dropped(tmp_path):
    with Journal(tmp_path / "o", {}) as journal:
        made = dialog.alone(Asker(FakeChat(["same"])), journal, 2, dialog.Scene(), exchanges=1)
    assert (len(made.dialogs), made.dropped["same as another"]) == (1, 5)  # it gives up after six
    with Journal(tmp_path / "p", {}) as journal:
        made = dialog.alone(Asker(FakeChat([" "])), journal, 1, dialog.Scene(), exchanges=1)
    assert (made.dialogs, made.dropped["empty turn"]) == ([], 3)
