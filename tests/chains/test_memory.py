"""Conversations across sessions: listed, searched, exported, forgotten."""

import json

import pytest

from chains import memory, runs
from chains.chatbot import Chatbot
from chains.errors import UsageError
from tuning import formats


@pytest.fixture
def talked(model):
    for session, question in (("a", "대출은 며칠인가요?"), ("b", "What of 100%?"), ("a", "Thanks_all")):
        Chatbot(model(str.upper), session=session).ask(question)


def test_sessions_are_listed_the_latest_first(talked):
    assert [(one.name, one.exchanges) for one in memory.sessions()] == [("a", 2), ("b", 1)]


@pytest.mark.parametrize(
    ("text", "found"),
    [("대출", 1), ("며칠", 1), ("thanks", 1), ("100%", 1), ("%", 1), ("_", 1), ("o", 1), ("T", 2), ("nothing", 0)],
)
def test_a_text_is_found_anywhere_and_is_no_pattern(talked, text, found):
    assert len(memory.search(text)) == found


def test_what_is_found_says_where_it_was_said(talked):
    (one,) = memory.search("대출")
    assert (one.session, one.answer) == ("a", "대출은 며칠인가요?")
    assert runs.get(one.run).inputs["question"] == "대출은 며칠인가요?"
    assert memory.search("대출", session="b") == []
    assert [one.question for one in memory.search("t", limit=1)] == ["Thanks_all"]
    with pytest.raises(UsageError, match="not empty"):
        memory.search(" ")


def test_export_is_what_tuning_reads(talked, tmp_path):
    rows = memory.export(tmp_path / "chats.jsonl")
    assert [json.loads(line) for line in (tmp_path / "chats.jsonl").read_text().splitlines()] == rows
    assert [len(row["messages"]) for row in rows] == [4, 2]
    assert {finding.rule for finding in formats.check(tmp_path / "chats.jsonl").findings} == {"too-few-rows"}
    assert memory.export(session="b")[0]["messages"][0] == {"role": "user", "content": "What of 100%?"}


def test_a_bot_searches_and_exports_its_own(talked, model, tmp_path):
    bot = Chatbot(model(), session="b")
    assert len(bot.search("100")) == 1 and bot.search("대출") == []
    bot.export(tmp_path / "b.jsonl")
    assert len((tmp_path / "b.jsonl").read_text().splitlines()) == 1


def test_a_session_is_deleted_and_an_unknown_one_is_named(talked):
    memory.delete("a")
    assert [one.name for one in memory.sessions()] == ["b"]
    with pytest.raises(UsageError, match="no session 'a'; there are 1"):
        memory.delete("a")
    memory.delete("b")
    with pytest.raises(UsageError, match="nothing to write"):
        memory.export("x.jsonl")
