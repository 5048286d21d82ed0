"""chat, ask and the terminal conversation, with scripted models."""

import io
import json

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from apps import bots
from apps.cli import main
from chains import runs

PASSAGE = Document(
    "코트는 열두 걸음입니다. 공이 밖으로 나가면 상대가 던집니다.",
    metadata={"source": "rules.md", "heading": "공", "start": 10, "end": 44},
)


class Shelf(BaseRetriever):
    """Always finds the same passage."""

    def _get_relevant_documents(self, query, *, run_manager):
        return [PASSAGE]


class ShelfLibrary:
    def as_retriever(self, k, mode):
        return Shelf()

    def close(self):
        pass


@pytest.fixture
def library(monkeypatch, tmp_path):
    monkeypatch.setattr(bots, "open_library", lambda folder, embeddings=None: ShelfLibrary())
    return str(tmp_path)


@pytest.fixture
def typed(monkeypatch):
    """Let stdin hold these lines."""
    return lambda *lines: monkeypatch.setattr("sys.stdin", io.StringIO("".join(line + "\n" for line in lines)))


def test_one_message_is_answered(capsys):
    assert main(["chat", "-m", "안녕", "--model", "fake:반갑습니다 여러분"]) == 0
    assert capsys.readouterr() == ("반갑습니다 여러분\n", "")


def test_one_message_as_json(capsys):
    assert main(["chat", "-m", "hi there", "--model", "fake:hello you all", "--session", "s1", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert runs.get(made.pop("id")).output["answer"] == "hello you all"
    assert made == {
        "answer": "hello you all",
        "citations": [],
        "session": "s1",
        "model": "fake:hello you all",
        "usage": {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5},
        "support": None,
        "notes": [],
    }


def test_a_session_goes_on_where_it_was(capsys):
    for message in ("one", "two"):
        main(["chat", "-m", message, "--model", "fake:ok", "--session", "s1", "--system", "Be brief."])
    sent = runs.recent(1)[0].steps or runs.get(runs.recent(1)[0].id).steps
    assert [m["content"] for m in sent[0].messages] == ["Be brief.", "one", "ok", "two"]


def test_messages_without_a_session_know_nothing_of_each_other(capsys):
    for message in ("one", "two"):
        main(["chat", "-m", message, "--model", "fake:ok"])
    assert len({run.session for run in runs.recent()}) == 2


def test_every_line_of_stdin_is_a_question_of_one_conversation(capsys, typed):
    typed("one", "", "  two  ", "/quit", "three")
    assert main(["chat", "--model", "fake:a|b|c"]) == 0
    assert capsys.readouterr() == ("a\nb\n", "")
    assert [run.inputs["question"] for run in runs.recent()] == ["two", "one"]
    assert len({run.session for run in runs.recent()}) == 1


def test_slash_commands_rate_correct_and_begin_anew(capsys, typed):
    typed("/good", "one", "/good", "two", "/bad", "/fix", "/fix zwei", "/new", "three", "/what")
    assert main(["chat", "--model", "fake:a|b|c", "--lang", "en"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[:5] == ["there is no answer to rate yet", "kept", "kept", "write the better answer after /fix", "kept"]
    assert said[5].startswith("a new conversation: chat-") and said[6].startswith("no command /what")
    three, two, one = runs.recent()
    assert (one.rating, two.rating, two.correction, three.rating) == (1, -1, "zwei", None)
    assert one.session == two.session != three.session


def test_without_a_terminal_an_error_ends_the_conversation(capsys, typed, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    typed("one", "two")
    assert main(["chat", "--model", "openai:x", "--temperature", "0"]) == 1
    assert capsys.readouterr().err.startswith("the model's server did not answer as expected")


def test_control_characters_of_a_model_do_not_reach_the_terminal(capsys):
    main(["chat", "-m", "x", "--model", "fake:red \x1b[31m \x9b2J end\ttab"])
    assert capsys.readouterr().out == "red [31m 2J end\ttab\n"


def test_json_needs_a_message(capsys):
    assert main(["chat", "--model", "fake:a", "--json"]) == 2
    assert "-m" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_ask_answers_with_its_sources(capsys, library):
    assert (
        main(["ask", "공이 밖으로 나가면?", "--library", library, "--model", "fake:상대가 던집니다.", "--lang", "ko"])
        == 0
    )
    assert (
        capsys.readouterr().out
        == "상대가 던집니다.\n\n출처\n[1] rules.md, 공\n    공이 밖으로 나가면 상대가 던집니다.\n"
    )


def test_ask_as_json_gives_places_in_the_source(capsys, library):
    main(["ask", "공이 밖으로 나가면?", "--library", library, "--model", "fake:상대가 던집니다.", "--json"])
    [citation] = json.loads(capsys.readouterr().out)["citations"]
    assert citation.pop("score") > 0
    assert citation == {
        "source": "rules.md",
        "start": 24,
        "end": 44,
        "quote": "공이 밖으로 나가면 상대가 던집니다.",
        "page": None,
        "heading": "공",
    }


def test_a_mode_that_does_not_exist_is_refused(capsys, library):
    assert main(["ask", "x", "--library", library, "--model", "fake:a", "--mode", "dens"]) == 2
    assert capsys.readouterr().err == "mode 'dens' is unknown; use hybrid, dense, keyword; did you mean 'dense'?\n"


def test_an_answer_without_support_says_so(capsys, library):
    assert main(["ask", "zzz?", "--library", library, "--model", "fake:Quux!"]) == 0
    out, err = capsys.readouterr()
    assert (
        out == "Quux!\n"
        and err == "No passage of the documents supports this answer; check it before you rely on it.\n"
    )
    assert main(["ask", "zzz?", "--library", library, "--model", "fake:Quux!", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["support"] == 0.0 and len(made["notes"]) == 1
    assert main(["ask", "zzz?", "--library", library, "--model", "fake:Quux!", "--quotes", "copied"]) == 2
    assert "quotes is 'copied'" in capsys.readouterr().err


def test_conversations_are_listed_continued_written_and_forgotten(capsys, tmp_path):
    assert main(["chat", "--sessions", "--lang", "en"]) == 0
    assert capsys.readouterr().out == "no conversation is remembered yet\n"
    for session, words in (("u1", "one"), ("u2", "two"), ("u1", "three")):
        assert main(["chat", "-m", words, "--session", session, "--model", "fake:ok"]) == 0
    capsys.readouterr()
    assert [m["content"] for m in runs.get(runs.recent(1)[0].id).steps[0].messages] == ["one", "ok", "three"]
    assert main(["chat", "--sessions", "--json"]) == 0
    assert [(one["name"], one["exchanges"]) for one in json.loads(capsys.readouterr().out)] == [("u1", 2), ("u2", 1)]
    file = tmp_path / "u1.jsonl"
    assert main(["chat", "--session", "u1", "--export", str(file), "--lang", "ko"]) == 0
    assert capsys.readouterr().out == f"{file}: 대화 1개\n"
    (row,) = map(json.loads, file.read_text().splitlines())
    assert [message["content"] for message in row["messages"]] == ["one", "ok", "three", "ok"]
    assert main(["chat", "--session", "u1", "--delete", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"deleted": "u1"}
    assert main(["chat", "--sessions", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["u2"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--delete"], "name it with --session NAME"),
        (["--delete", "--session", "u9"], "no session 'u9'; there are 0"),
        (["--delete", "--sessions", "--session", "u9"], "three things to do; give one of them"),
    ],
)
def test_what_cannot_be_done_with_conversations_is_refused(capsys, words, sentence):
    assert main(["chat", *words]) == 2
    assert sentence in capsys.readouterr().err
