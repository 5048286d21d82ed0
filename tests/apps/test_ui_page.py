"""The chat page's logic, run without a browser."""

import json
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from streamlit.testing.v1 import AppTest

from apps import bots
from apps.ui import resources, server
from chains import Chatbot, load_model, runs
from chains.models import registry

PAGE = Path(__file__).parents[2] / "apps" / "ui" / "page.py"


class Shelf(BaseRetriever):
    """Always finds the same passage."""

    def _get_relevant_documents(self, query, *, run_manager):
        text = "The court is small. A ball out of play goes to the other team. Rest follows."
        return [Document(text, metadata={"source": "rules_1.md", "page": 2, "start": 100, "end": 100 + len(text)})]


class ShelfLibrary:
    def as_retriever(self, k, mode):
        return Shelf()


@pytest.fixture
def page(monkeypatch):
    """Open the page with these settings."""

    def open_page(**settings):
        monkeypatch.setenv(server.SETTINGS, json.dumps(settings))
        test = AppTest.from_file(str(PAGE), default_timeout=30).run()
        assert not test.exception
        return test

    return open_page


def said(test):
    return [(message.name, message.markdown[0].value) for message in test.chat_message]


def ask(test, question):
    return test.chat_input[0].set_value(question).run()


def test_without_a_model_the_page_says_how_to_get_one(page):
    test = page(language="en")
    assert "chaintune demo" in test.info[0].value
    assert test.chat_input[0].disabled


def test_a_question_is_answered_and_remembered(page):
    test = ask(page(model="fake:Hello **you**.|Bye.", language="en"), "Hi")
    assert said(test) == [("user", "Hi"), ("assistant", "Hello **you**.")]
    assert said(ask(test, "Go"))[2:] == [("user", "Go"), ("assistant", "Bye.")]
    last = runs.get(runs.recent(1)[0].id)
    assert [m["content"] for m in last.steps[0].messages] == ["Hi", "Hello **you**.", "Go"]


def test_a_thumb_is_kept_for_the_run(page):
    test = ask(page(model="fake:Hello.", language="en"), "Hi")
    id = runs.recent(1)[0].id
    test.feedback(key=f"thumb-{id}").set_value(0).run()
    assert runs.get(id).rating == -1
    test.feedback(key=f"thumb-{id}").set_value(1).run()
    assert runs.get(id).rating == 1
    assert runs.to_dataset(feedback=1)[0]["messages"][-1]["content"] == "Hello."


def test_a_better_answer_is_kept_for_the_run(page):
    test = ask(page(model="fake:Helo.", language="en"), "Hi")
    id = runs.recent(1)[0].id
    test.text_area(key=f"better-{id}").set_value("Hello.").run()
    test.button(key=f"save-{id}").click().run()
    assert runs.get(id).correction == "Hello."


def test_an_answer_shows_its_sources_in_their_passage(page, monkeypatch, tmp_path):
    monkeypatch.setattr(bots, "open_library", lambda folder, embeddings=None: ShelfLibrary())
    test = ask(page(model="fake:The other team.", library=str(tmp_path), language="en"), "Ball out of play?")
    [source] = [expander for expander in test.expander if expander.label.startswith("1.")]
    assert source.label == r"1. rules\_1.md · p. 2"
    assert "The court is small. <mark" in source.get("html")[0].proto.body
    assert ">A ball out of play goes to the other team.</mark> Rest follows." in source.get("html")[0].proto.body


def test_the_language_can_be_switched(page):
    test = page(model="fake:a", language="ko")
    assert test.chat_input[0].placeholder == "무엇이든 물어보세요"
    test.get("button_group")[0].set_value("en").run()
    assert test.chat_input[0].placeholder == "Ask something"


def test_instructions_and_temperature_reach_the_model(page):
    test = page(model="fake:a", language="en")
    test.text_area(key="system").set_value("Be brief.")
    test.slider(key="temperature").set_value(0.0)
    ask(test, "Hi")
    [call] = runs.get(runs.recent(1)[0].id).steps
    assert call.messages[0] == {"role": "system", "content": "Be brief."}
    assert call.sampling["temperature"] == 0


def test_an_untouched_temperature_is_the_models_own(page, monkeypatch):
    monkeypatch.setattr(resources, "load_model", lambda name: load_model(name, temperature=0.3))
    ask(page(model="fake:cool", language="en"), "Hi")
    [call] = runs.get(runs.recent(1)[0].id).steps
    assert call.sampling["temperature"] == 0.3


def test_a_typed_model_is_used_in_place_of_the_picked_one(page):
    test = page(model="fake:picked", language="en")
    test.text_input(key="typed_model").set_value("fake:typed").run()
    assert said(ask(test, "Hi"))[1] == ("assistant", "typed")


def test_only_models_that_chat_are_offered(page):
    for name, kind in (("talker", "chat"), ("judge", "reward")):
        with registry.publish(name, {"kind": kind}) as folder:
            (folder / "config.json").write_text("{}")
    assert page(language="en").selectbox(key="model").options == ["talker"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": "fake:"}, "'fake:' names nothing after the colon"),
        ({"model": "starter"}, "there is no model 'starter' yet"),
        ({"model": "fake:a", "library": "/nowhere"}, "there is no index at /nowhere"),
    ],
)
def test_an_error_is_a_sentence_in_the_page_and_the_page_goes_on(page, settings, sentence):
    test = ask(page(language="en", **settings), "Hi")
    assert test.error[0].value.startswith(sentence)
    assert not test.exception
    test.text_input(key="library").set_value("")
    test.text_input(key="typed_model").set_value("fake:fine").run()
    assert said(ask(test, "Again"))[-1] == ("assistant", "fine")


def test_a_bug_is_a_sentence_too(page, monkeypatch):
    test = page(model="fake:a", language="en")
    monkeypatch.setattr(Chatbot, "stream", lambda *given, **named: 1 / 0)
    assert "this is a bug in chaintune: ZeroDivisionError" in ask(test, "Hi").error[0].value


def test_a_past_conversation_can_be_opened_and_left(page):
    bot = Chatbot(load_model("fake:first|second"), session="earlier")
    bot.feedback(bot.ask("one *star*").id, rating=1)
    bot.ask("two")
    test = page(model="fake:third", language="en")
    assert test.button(key="open-earlier").label == r"one \*star\*"
    test.button(key="open-earlier").click().run()
    assert said(test) == [("user", "one *star*"), ("assistant", "first"), ("user", "two"), ("assistant", "second")]
    assert [thumb.value for thumb in test.feedback] == [1, None]
    ask(test, "three")
    assert len(Chatbot(load_model("fake:x"), session="earlier").history()) == 6
    test.button(key="new").click().run()
    assert said(test) == []


def test_an_answer_without_support_says_so_and_quotes_may_be_copied(page, monkeypatch, tmp_path):
    monkeypatch.setattr(bots, "open_library", lambda folder, embeddings=None: ShelfLibrary())
    test = page(model="fake:Quux!", library=str(tmp_path), language="en")
    kept = []
    monkeypatch.setattr(Chatbot, "__init__", _noting(kept, Chatbot.__init__))
    test.toggle(key="copies").set_value(True)
    test = ask(test, "zzz?")
    assert [note.value for note in test.warning] == [
        "No passage of the documents supports this answer; check it before you rely on it."
    ]
    assert kept == ["decoded"]


def _noting(kept, begin):
    def init(self, *given, quotes="matched", **more):
        kept.append(quotes)
        begin(self, *given, quotes=quotes, **more)

    return init
