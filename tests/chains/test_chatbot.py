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
    bot = Chatbot(model("It opens at nine."), retriever=shelf(PASSAGE), condense=False)

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


def test_a_follow_up_is_searched_for_as_a_question_that_stands_alone(model, shelf):
    llm = model(lambda text: "When does the tea room open?" if "Next question" in text else "At nine.")
    found = shelf(PASSAGE)
    bot = Chatbot(llm, retriever=found, session="f")
    bot.ask("Tell me of the tea room.")
    answer = bot.ask("When does it open?")
    assert found.asked == [
        "Tell me of the tea room.",
        "When does the tea room open?",
    ]  # the first has nothing to follow
    asked = next(messages[0].text for messages in llm.asked if "Next question" in messages[0].text)
    assert "human: Tell me of the tea room.\nai: At nine.\n\nNext question: When does it open?" in asked
    assert answer.notes == ()
    assert bot.history()[2]["content"] == "When does it open?"  # what the person said is what is remembered
    assert runs.get(answer.id).steps[0].name == "standalone"


@pytest.mark.parametrize(
    ("question", "said", "note"),
    [
        ("When?", " ", "The model did not rewrite the question (its answer was empty); it was searched for as it is."),
        ("언제 열어요?", "", "모델이 질문을 고쳐 쓰지 못해 (답이 비어 있음) 질문 그대로 찾았습니다."),
    ],
)
def test_an_empty_rewrite_leaves_the_question_with_a_note(model, shelf, question, said, note):
    llm = model(lambda text: said if "Next question" in text or "다음 질문" in text else "At nine.")
    found = shelf(PASSAGE)
    bot = Chatbot(llm, retriever=found)
    bot.ask("Tell me.")
    assert bot.ask(question).notes == (note,)
    assert found.asked[1] == question


def test_condensing_is_left_out_where_it_is_not_wanted_or_the_context_is_small(model, shelf):
    found = shelf(PASSAGE)
    for number, (context, settings) in enumerate([(4096, {"condense": False}), (512, {}), (512, {"condense": True})]):
        llm = model("rewritten")
        object.__setattr__(llm, "engine", SimpleNamespace(context=context))
        object.__setattr__(llm, "max_tokens", 10)
        object.__setattr__(llm, "get_num_tokens_from_messages", lambda messages: 1)
        bot = Chatbot(llm, retriever=found, session=str(number), **settings)
        bot.ask("one")
        bot.ask("two")
    assert found.asked == ["one", "two", "one", "two", "one", "rewritten"]


def long_talk(llm, **settings):
    """A bot whose exchanges are 6 bytes, 2 tokens each by the rule for models that are not here."""
    return Chatbot(llm, **{"summarise_after": 8, **settings})


def test_what_is_beyond_the_budget_is_summarised(model):
    llm = model(lambda text: "SUMMARY" if "Summary of a conversation" in text else text.upper())
    bot = long_talk(llm, session="s")
    for number in range(1, 7):
        bot.ask(f"q{number}x")
    written = [messages[0].text for messages in llm.asked if "Summary of a conversation" in messages[0].text]
    assert len(written) == 1
    after = next(asked for asked in llm.asked if "Earlier in our conversation: SUMMARY" in said(asked))
    assert "q1x" not in said(after)  # what is in the summary is not given a second time
    assert "so far: -" in written[0] and "human: q1x\nai: Q1X" in written[0] and "q4x" not in written[0]
    assert said(llm.asked[-1])[:2] == ["Earlier in our conversation: SUMMARY", "Yes, I remember."]
    assert said(llm.asked[-1])[-1] == "q6x"
    assert "q1x" not in said(llm.asked[-1])
    assert len(bot.history()) == 12  # nothing that was said is lost
    runs.close()
    again = model("x")
    long_talk(again, session="s").ask("q7x")
    assert "Earlier in our conversation: SUMMARY" in said(again.asked[0])


def test_a_summary_grows_out_of_the_one_before(model):
    llm = model(lambda text: f"S{len(llm.asked)}" if "Summary of" in text else "A")
    bot = long_talk(llm, summarise_after=4)
    for number in range(9):
        bot.ask(f"question {number}")
    written = [messages[0].text for messages in llm.asked if "Summary of a conversation" in messages[0].text]
    assert len(written) > 1
    assert "so far: S" in written[1]
    everything = " ".join(written)
    assert [everything.count(f"question {number}\n") for number in range(7)] == [1] * 7  # each once


def test_a_summary_that_fails_is_noted_and_the_latest_is_used(model):
    llm = model(lambda text: " " if "Summary of" in text else "A")
    bot = long_talk(llm, turns=1)
    for number in range(6):
        answer = bot.ask(f"question {number}")
    assert answer.notes[0].startswith("The earlier conversation could not be summarised (its answer was empty)")
    assert said(llm.asked[-1]) == ["question 4", "A", "question 5"]


def test_clear_forgets_the_summary_too(model):
    llm = model(lambda text: "SUMMARY" if "Summary of" in text else "A")
    bot = long_talk(llm)
    for number in range(6):
        bot.ask(f"question {number}")
    bot.clear()
    bot.ask("new")
    assert said(llm.asked[-1]) == ["new"]


def test_a_budget_of_no_use_is_refused(model):
    with pytest.raises(UsageError, match="summarise_after=1 cannot be used"):
        Chatbot(model(), summarise_after=1)


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def test_tools_are_called_and_remembered_as_the_answer(scripted):
    llm = scripted([[("add", {"a": 2, "b": 3})], "It is 5.", "Yes."])
    bot = Chatbot(llm, tools=[add], system="S")
    answer = bot.ask("2 + 3?")
    assert (answer.text, answer.calls[0].result, answer.usage["total_tokens"]) == ("It is 5.", "5", 24)
    assert "".join(bot.stream("Sure?")) == "Yes."
    assert said(llm.asked[2]) == ["S", "2 + 3?", "It is 5.", "Sure?"]
    with pytest.raises(UsageError, match="a retriever or tools"):
        Chatbot(llm, retriever=RunnableLambda(lambda q: []), tools=[add])


def test_a_local_model_remembers_by_summary_and_searches_by_rewriting(local, shelf):
    llm = local(2048, max_tokens=12)
    bot = Chatbot(llm, retriever=shelf(PASSAGE), summarise_after=30, condense=True)
    for question in ("When does it open?", "And on Sunday?", "몇 시에 닫아요?"):
        answer = bot.ask(question)
    steps = [step.name for step in runs.get(answer.id).steps]
    assert "standalone" in steps and "RetrievalChain" in steps


def test_an_answer_without_support_says_so_and_one_with_it_has_its_share(model, shelf):
    bot = Chatbot(model("It opens at nine."), retriever=shelf(PASSAGE), condense=False)
    answer = bot.ask("When does the room open?")
    assert answer.support is not None and answer.support > 0.7 and answer.notes == ()
    made_up = Chatbot(model("Quux!"), retriever=shelf(PASSAGE), session="b").ask("zzz?")
    assert (made_up.support, made_up.citations) == (0.0, [])
    assert made_up.notes == ("No passage of the documents supports this answer; check it before you rely on it.",)
    korean = Chatbot(model("쿼카!"), retriever=shelf(PASSAGE), session="c").ask("뭐죠?")
    assert korean.notes == ("문서에는 이 답을 뒷받침하는 대목이 없습니다. 믿기 전에 확인하세요.",)
    assert runs.get(korean.id).output["support"] == 0.0


def test_to_say_that_the_documents_do_not_tell_needs_no_support(model, shelf):
    assert Chatbot(model("The documents do not say."), retriever=shelf(PASSAGE)).ask("Who?").notes == ()
    alone = Chatbot(model("Hello."), session="d").ask("Hi")
    assert alone.support is None and alone.notes == ()


def test_quotes_can_be_copied_by_the_model(shelf, local):
    text = PASSAGE.page_content
    bot = Chatbot(local(1024, seed=1), retriever=shelf(PASSAGE), quotes="decoded", condense=False)
    answer = bot.ask("When does the room open?")
    step = next(step for step in runs.get(answer.id).steps if "citations" in (step.output or {}))
    assert len(step.steps) >= 2  # the answer, and the copying
    assert all(quote.quote in text for quote in answer.citations)
    with pytest.raises(UsageError, match="quotes is 'copied'; use 'matched' or 'decoded'"):
        Chatbot(local(1024), retriever=shelf(PASSAGE), quotes="copied")
    with pytest.raises(UsageError, match="quotes='decoded' is about citations"):
        Chatbot(local(1024), quotes="decoded")
