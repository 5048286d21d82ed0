"""Summarize: which calls are made for a long text, that nothing is left out, and that it ends."""

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document

from chains import runs
from chains.errors import ModelError, UsageError
from chains.models.fake import FakeChat
from chains.models.local_chat import LocalChat
from chains.summarize import Summarize
from chains.tokens import parts
from tests import tiny

LONG = "\n\n".join(f"Paragraph {number} speaks of topic{number} at some length, and ends." for number in range(40))


def words(text):
    return len(text.split())


@given(st.text(alphabet="ab .\n가나!?", max_size=200), st.integers(1, 12))
def test_parts_fit_and_hold_every_word_in_order(text, most):
    def count(text):
        return len(text.split()) + len(text) // 5

    cut = parts(text, most, count)
    assert "".join("".join(cut).split()) == "".join(text.split())
    assert all(count(part) <= most for part in cut)


def test_parts_are_whole_paragraphs_then_sentences_then_words():
    text = "One two three.\n\nFour. Five six. Seven eight nine ten."
    assert parts(text, 7, words) == ["One two three.", "Four. Five six. Seven eight nine ten."]
    assert parts(text, 10, words) == [text]
    assert parts(text, 4, words) == ["One two three.", "Four. Five six.", "Seven eight nine ten."]
    assert parts(text, 3, words)[-2:] == ["Seven eight nine", "ten."]


def test_a_short_text_is_one_call():
    llm = FakeChat(["short"])
    assert Summarize(llm, about="Names matter.").run("A text.") == "short"
    (prompt,) = llm.prompts
    assert prompt[0].text.startswith("Summarise the text in a few sentences. Names matter. Write")
    assert prompt[0].text.endswith("A text.")


def test_korean_is_summarised_in_korean():
    llm = FakeChat(["요약"])
    Summarize(llm).run("하늘은 파랗다.")
    assert llm.prompts[0][0].text.startswith("글을 몇 문장으로 요약하세요. 요약만")


def test_map_reduce_reads_every_part_in_one_batch_and_joins_until_one_is_left(model):
    llm = model(lambda text: "part " + re.findall(r"topic\d+", text)[0] if "topic" in text else "all")
    summarize = Summarize(llm, context=120, max_tokens=10, count=words)
    made = summarize.run(LONG)
    asked = [messages[-1].text for messages in llm.asked]
    first = [text for text in asked if text.startswith("Summarise")]
    later = [text for text in asked if not text.startswith("Summarise")]
    assert [name for text in first for name in re.findall(r"topic\d+", text)] == [f"topic{n}" for n in range(40)]
    assert all(words(text) + 10 <= 120 for text in asked)
    assert llm.batches == [len(first)]  # what is left is one call
    assert len(later) == 1 and later[0].startswith("These are summaries")
    assert made == "part topic0"


def test_summaries_that_do_not_fit_together_are_joined_in_rounds(model):
    llm = model(lambda text: " ".join(f"w{n}" for n in range(20)))
    Summarize(llm, context=110, max_tokens=20, count=words).run(LONG)
    joins = [messages[-1].text for messages in llm.asked if messages[-1].text.startswith("These are")]
    assert len(joins) > 2
    assert all(words(text) + 20 <= 110 for text in joins)


def test_texts_of_a_batch_share_the_map_call(model):
    llm = model("s")
    summarize = Summarize(llm, context=120, max_tokens=10, count=words)
    made = summarize.batch([LONG, "One short text.", ""], return_exceptions=True)
    assert [one["summary"] for one in made[:2]] == ["s", "s"]
    assert isinstance(made[2], UsageError)
    alone = Summarize(model("s"), context=120, max_tokens=10, count=words)
    alone.run(LONG)
    assert llm.batches[0] == alone.llm.batches[0] + 1


def test_refine_carries_the_summary_through_the_parts(model):
    llm = model(lambda text: f"<{len(llm.asked)}>")
    assert Summarize(llm, "refine", context=120, max_tokens=10, count=words).run(LONG) == f"<{len(llm.asked)}>"
    asked = [messages[-1].text for messages in llm.asked]
    assert len(asked) > 2
    assert asked[0].startswith("Summarise")
    assert all(f"Summary so far:\n<{n}>" in text for n, text in enumerate(asked) if n)
    assert [name for text in asked for name in re.findall(r"topic\d+", text)] == [f"topic{n}" for n in range(40)]


def test_refine_leaves_room_for_the_summary_so_far(model):
    llm = model(lambda text: " ".join(["word"] * 30))
    Summarize(llm, "refine", context=180, max_tokens=30, count=words).run(LONG)
    assert all(words(messages[-1].text) + 30 <= 180 for messages in llm.asked)


def test_stuff_refuses_what_does_not_fit():
    with pytest.raises(
        UsageError, match=r"the text is \d+ tokens long and the model has room for \d+; use method='map_reduce'"
    ):
        Summarize(FakeChat("x"), "stuff", context=400).run(LONG)


def test_what_cannot_be_used_is_named():
    with pytest.raises(UsageError, match="method 'mapreduce' is unknown; use auto, stuff"):
        Summarize(FakeChat("x"), "mapreduce")
    with pytest.raises(UsageError, match="text is a int"):
        Summarize(FakeChat("x")).run(3)
    with pytest.raises(UsageError, match="no room for the prompt and two summaries of 90 tokens"):
        Summarize(FakeChat("x"), context=200, max_tokens=90).run("x")
    with pytest.raises(ModelError, match="empty summary of every part"):
        Summarize(FakeChat(" "), context=150, max_tokens=20, count=words).run(LONG)


def test_documents_stream_and_await():
    llm = FakeChat(["one two"])
    summarize = Summarize(llm)
    assert [chunk["summary"] for chunk in summarize.stream([Document("A."), "B."])] == ["one", " two"]
    assert "A.\n\nB." in llm.prompts[0][0].text
    assert asyncio.run(summarize.ainvoke("A"))["summary"] == "one two"
    streamed = list(Summarize(FakeChat(["a b"]), context=150, max_tokens=20, count=words).stream(LONG))
    assert len(streamed) == 2  # the last call alone


def test_the_run_is_a_tree():
    Summarize(FakeChat(["s"]), context=150, max_tokens=20, count=words).run(LONG)
    run = runs.get(runs.recent(1)[0].id)
    assert {step.name for step in run.steps} == {"part"}
    assert run.output == "s"


def test_a_tiny_local_model_summarises_what_is_longer_than_its_context(local):
    llm = local(1024)
    heard = []

    class Ear(BaseCallbackHandler):
        def on_chat_model_start(self, serialized, messages, **kwargs):
            heard.append(llm.get_num_tokens_from_messages(messages[0]))

    text = "\n\n".join(f"{number}. {text}" for number in range(60) for text in tiny.TEXTS[:2])
    assert llm.get_num_tokens(text) > 1024
    made = Summarize(llm, max_tokens=40).invoke(text, {"callbacks": [Ear()]})
    assert made["summary"].strip()
    assert len(heard) > 2 and max(heard) + 40 <= 1024
    assert Summarize(llm, "refine", max_tokens=40).run(text)


def test_a_context_too_small_for_the_prompt_is_said():
    with pytest.raises(UsageError, match="has no room for the prompt"):
        Summarize(LocalChat(tiny.model(), tiny.words())).run("The sky is blue.")  # a context of 96 tokens
