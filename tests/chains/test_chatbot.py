"""Chatbot: it remembers a session, within bounds, and its answers can be judged."""

import asyncio
import warnings
from types import SimpleNamespace

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda

from chains import runs
from chains.chatbot import Answer, Chatbot
from chains.errors import MachineError, UsageError
from chains.runs.conversation import Conversation

PASSAGE = Document("The room opens at nine.", metadata={"source": "tea.md", "start": 0, "end": 23})


def said(messages):
    return [message.text for message in messages]


def test_an_answer_has_its_text_tokens_and_run(model):
    answer = Chatbot(model("hello there")).ask("hi")
    assert answer.text == "hello there"
    assert answer.citations == []
    assert answer.usage == {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}
    assert runs.get(answer.id).output["answer"] == "hello there"


def test_a_conversation_is_remembered(model):
    llm = model(str.upper)
    bot = Chatbot(llm, system="Be {kind}.")
    bot.ask("one")
    bot.ask("two")
    assert said(llm.asked[1]) == ["Be {kind}.", "one", "ONE", "two"]
    assert bot.history() == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "ONE"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "TWO"},
    ]


def test_sessions_are_apart_and_outlive_the_object(model):
    Chatbot(model(), session="a").ask("from a")
    assert Chatbot(model(), session="b").history() == []
    runs.close()
    assert Chatbot(model(), session="a").history()[0]["content"] == "from a"
    assert runs.recent(1)[0].session == "a"


def test_clear_forgets_the_conversation_but_not_the_runs(model):
    bot, other = Chatbot(model(), session="a"), Chatbot(model(), session="b")
    bot.ask("x")
    other.ask("y")
    bot.clear()
    assert bot.history() == []
    assert len(other.history()) == 2
    assert len(runs.recent()) == 2


@pytest.mark.parametrize(
    ("bounds", "seen"),
    [
        ({"turns": 2}, ["q3", "Q3", "q4", "Q4", "q5"]),
        ({"characters": 5}, ["q4", "Q4", "q5"]),  # an exchange is 4 characters, and no exchange is cut
        ({"turns": 0}, ["q5"]),
        ({}, ["q1", "Q1", "q2", "Q2", "q3", "Q3", "q4", "Q4", "q5"]),
    ],
)
def test_the_model_is_given_the_latest_exchanges_within_bounds(model, bounds, seen):
    llm = model(str.upper)
    bot = Chatbot(llm, **bounds)
    for number in range(1, 6):
        bot.ask(f"q{number}")
    assert said(llm.asked[-1]) == seen


def test_a_small_model_is_given_what_it_has_room_for(model):
    llm = model(str.upper)
    object.__setattr__(llm, "engine", SimpleNamespace(context=8))
    object.__setattr__(llm, "max_tokens", 100)
    object.__setattr__(llm, "get_num_tokens_from_messages", lambda messages: len(messages))
    bot = Chatbot(llm)
    for number in range(1, 6):
        bot.ask(f"q{number}")
    assert said(llm.asked[-1]) == ["q3", "Q3", "q4", "Q4", "q5"]  # 5 of 8, with a quarter kept for the answer


@pytest.mark.parametrize("question", ["", "  ", None, 3])
def test_a_question_that_is_empty_is_refused(model, question):
    with pytest.raises(UsageError, match="ask with a text that is not empty"):
        Chatbot(model()).ask(question)


def test_bounds_below_nothing_are_refused(model):
    with pytest.raises(UsageError, match="turns=-1"):
        Chatbot(model(), turns=-1)


def test_a_stream_is_text_and_the_answer_is_there_after_it(model, shelf):
    bot = Chatbot(model("It opens at nine."), retriever=shelf(PASSAGE))
    assert list(bot.stream("When?")) == ["It ", "opens ", "at ", "nine. "]
    assert isinstance(bot.last, Answer)
    assert (bot.last.text, bot.last.citations[0].quote) == ("It opens at nine. ", "The room opens at nine.")
    assert bot.history()[-1]["content"] == "It opens at nine. "


def test_a_stream_left_half_read_is_not_remembered(model):
    bot = Chatbot(model("one two"))
    stream = bot.stream("x")
    next(stream)
    stream.close()
    assert bot.history() == []


def test_without_passages_the_stream_says_so(model, shelf):
    bot = Chatbot(model(), retriever=shelf())
    assert list(bot.stream("언제?")) == ["문서에서 답을 찾지 못했습니다."]


def test_async_asks_the_same(model, shelf):
    bot = Chatbot(model("It opens at nine."), retriever=shelf(PASSAGE))

    async def both():
        pieces = [piece async for piece in bot.astream("When?")]
        return pieces, bot.last, await bot.aask("When?")

    pieces, streamed, asked = asyncio.run(both())
    assert pieces == ["It ", "opens ", "at ", "nine. "]
    assert streamed.citations == asked.citations
    assert len(bot.history()) == 4


def test_a_reader_who_leaves_an_async_stream_ends_the_models(model):
    ended = []

    def rule(text):
        return "one two three"

    llm = model(rule)
    inner = type(llm)._stream

    def watched(self, *args, **kwargs):
        try:
            yield from inner(self, *args, **kwargs)
        finally:
            ended.append(True)

    async def leave():
        stream = Chatbot(type("Watched", (type(llm),), {"_stream": watched})(rule=rule)).astream("x")
        await anext(stream)
        await stream.aclose()
        return list(ended)

    assert asyncio.run(leave()) == [True]
    assert "the reader stopped" in runs.recent(1)[0].error


def test_feedback_becomes_training_data(model):
    bot = Chatbot(model("wrong"), system="S")
    answer = bot.ask("hi")
    bot.feedback(answer.id, rating=-1, correction="Right.", comment="tone")
    assert runs.to_dataset() == [
        {
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "Right."},
            ]
        }
    ]
    with pytest.raises(UsageError, match="no run"):
        bot.feedback("nope", rating=1)


def test_a_failed_answer_is_not_remembered(model):
    def rule(text):
        raise ConnectionError("gone")

    bot = Chatbot(model(rule))
    with pytest.raises(ConnectionError):
        bot.ask("hi")
    assert bot.history() == []


def test_with_runs_off_nothing_is_written_and_the_process_remembers(model, monkeypatch):
    monkeypatch.setenv("CHAINTUNE_RUNS", "off")
    llm = model(str.upper)
    bot = Chatbot(llm, session="secret")
    bot.ask("one")
    bot.ask("two")
    assert said(llm.asked[1]) == ["one", "ONE", "two"]
    monkeypatch.delenv("CHAINTUNE_RUNS")
    assert bot.history() == []
    assert runs.recent() == []


def test_in_a_pipe_the_whole_dict_goes_on(model):
    pipe = Chatbot(model("well then")) | RunnableLambda(lambda made: f"{made['question']}: {made['answer']}")
    assert pipe.invoke("how?") == "how?: well then"
    assert "".join(pipe.stream("how?")) == "how?: well then "
    assert pipe.batch(["a", "b"]) == ["a: well then", "b: well then"]


def test_an_answer_is_not_lost_when_it_cannot_be_remembered(model, monkeypatch):
    def full(*args):
        raise MachineError("the disk is full")

    monkeypatch.setattr(Conversation, "add", full)
    with pytest.warns(RuntimeWarning, match="this exchange is not remembered: the disk is full"):
        assert Chatbot(model("hello")).ask("hi").text == "hello"


def test_bots_of_one_session_share_the_conversation(model):
    first, second = Chatbot(model("1"), session="s"), Chatbot(model("2"), session="s")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first.ask("a")
        second.ask("b")
    assert first.history() == second.history()
    assert len(first.history()) == 4
