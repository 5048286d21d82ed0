"""Reflect: rewrites that score higher are kept, others are not, and the critic can be content."""

import asyncio

import pytest
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.runnables import RunnableLambda

from chains import runs
from chains.errors import UsageError, WiringError
from chains.llm_chain import LLMChain
from chains.models.fake import FakeChat
from chains.models.local_chat import LocalChat
from chains.reflect import Reflect
from tests import tiny


def drafting(text):
    return LLMChain(llm=FakeChat([text]), prompt="Q: {q}", output_key="said")


def test_a_better_rewrite_replaces_the_draft():
    llm = FakeChat(["4", "Too short.", "A longer answer.", "8"])  # score, critique, rewrite, score
    made = Reflect(drafting("Short."), llm=llm).invoke("why?")
    assert made["said"] == "A longer answer."
    assert [(c.text, c.score, c.rank, c.critique) for c in made["outcome"].candidates] == [
        ("Short.", 4.0, 2, "Too short."),
        ("A longer answer.", 8.0, 1, None),
    ]
    rewrite = llm.prompts[2][0].text
    assert "Question: why?" in rewrite and "Answer: Short." in rewrite and "What to mend: Too short." in rewrite


@pytest.mark.parametrize("second", ["3", "4"])  # worse, and no better: the draft stays
def test_it_never_returns_worse_than_it_began(second):
    made = Reflect(drafting("First."), llm=FakeChat(["4", "Bad.", "Second.", second])).invoke("x")
    assert made["said"] == "First."


def test_the_next_round_mends_the_best_so_far():
    llm = FakeChat(["5", "c1", "worse", "2", "c2", "better", "9"])
    made = Reflect(drafting("draft"), llm=llm, rounds=2).invoke("x")
    assert "Answer: draft" in llm.prompts[4][0].text  # the second critique is of the draft, not of the worse rewrite
    assert made["said"] == "better"
    assert len(made["outcome"].candidates) == 3


@pytest.mark.parametrize("content", ["NOTHING TO CHANGE", "Nothing to change.", "고칠 것 없음", " "])
def test_a_critic_that_is_content_ends_it(content):
    llm = FakeChat(["5", content])
    made = Reflect(drafting("good"), llm=llm, rounds=3).invoke("x")
    assert (made["said"], made["outcome"].stopped, len(llm.prompts)) == ("good", "approved", 2)


def test_a_rewrite_that_cannot_be_scored_is_dropped():
    made = Reflect(drafting("first"), llm=FakeChat(["5", "bad", "second", "no idea"])).invoke("x")
    assert (made["said"], made["outcome"].failed) == ("first", 1)


def test_functions_and_runnables_stand_in():
    reflect = Reflect(
        drafting("abc"),
        critic=lambda said: f"{len(said)} letters",
        rewrite=RunnableLambda(lambda given: given["said"] + given["critique"]),
        score=len,
    )
    assert reflect.run("x") == "abc3 letters"


def test_korean_is_criticised_in_korean():
    llm = FakeChat(["5", "고칠 것 없음"])
    Reflect(drafting("파란색"), llm=llm).invoke("What colour?")
    assert llm.prompts[1][0].text.startswith("질문: What colour?\n\n답: 파란색")


def test_a_rewrite_passes_the_chains_own_parser():
    chain = LLMChain(llm=FakeChat(['{"a": 1}']), prompt="{q}", output_key="data", output_parser=JsonOutputParser())
    made = Reflect(chain, llm=FakeChat(["more", '{"a": 1, "b": 2}']), score=lambda data: len(data)).invoke("x")
    assert made["data"] == {"a": 1, "b": 2}
    (pair,) = made["outcome"].pairs()
    assert [output["messages"][0]["content"] for output in pair["outputs"]] == ['{"a": 1, "b": 2}', '{"a": 1}']
    assert pair["input"]["messages"] == [{"role": "user", "content": "x"}]


def test_each_of_a_batch_goes_its_own_way():
    draft = LLMChain(llm=FakeChat(["one", "two"]), prompt="{q}")
    reflect = Reflect(
        draft, critic=lambda text: "fine" if text == "never" else ("NOTHING TO CHANGE" if text == "one" else "longer"),
        rewrite=lambda text, critique: text + critique, score=len,
    )  # fmt: skip
    assert [made["text"] for made in reflect.batch(["a", "b"])] == ["one", "twolonger"]
    results = reflect.batch([{"z": 1}, {"q": "b"}], return_exceptions=True)
    assert isinstance(results[0], UsageError) and results[1]["text"]


def test_what_does_not_fit_is_refused_when_built():
    with pytest.raises(WiringError, match=r"the critique step asks for 'sayd'; .*did you mean 'said'"):
        Reflect(drafting("x"), critic=lambda sayd: "", llm=FakeChat("1"))
    with pytest.raises(UsageError, match="cannot see the chain's model; give llm="):
        Reflect(lambda q: q)
    with pytest.raises(UsageError, match="rounds=0"):
        Reflect(drafting("x"), rounds=0)


def test_the_run_is_a_tree_and_async_is_the_same():
    reflect = Reflect(drafting("Short."), llm=FakeChat(["4", "Too short.", "Longer.", "8"]))
    assert asyncio.run(reflect.ainvoke("why?"))["said"] == "Longer."
    run = runs.get(runs.recent(1)[0].id)
    assert [step.name for step in run.steps] == ["sample 1", "score", "critique", "rewrite", "score"]
    assert reflect.run("why?") == "Longer."
    assert [chunk["said"] for chunk in reflect.stream("why?")] == ["Longer."]


def test_a_local_model_criticises_itself():
    llm = LocalChat(tiny.model(spread=0.4), tiny.words(), max_tokens=5, seed=1)
    made = Reflect(
        LLMChain(llm=llm, prompt="{q}"),
        critic=lambda text: "again",
        rewrite=LLMChain(llm=llm, prompt="{question} {critique}", output_key="new"),
        score=len,
        rounds=2,
    ).invoke("sky?")
    lengths = [len(c.value) for c in made["outcome"].candidates]
    assert len(lengths) == 3 and len(made["text"]) == max(lengths)
