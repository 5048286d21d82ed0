"""Asking in other words: what is looked for, how the rankings are fused, and that any chain can stand behind it."""

import asyncio

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda

from chains import HyDE, MultiQuery, RetrievalChain
from chains.errors import UsageError

A, B, C = (Document(text, metadata={"source": f"{text}.md", "start": 0, "end": 1}) for text in "abc")
SHELF = {"pool?": [A, B], "swimming hours": [B, C], "opening of the bath": [B], "It opens at nine.": [C, B]}


def finding(asked):
    return RunnableLambda(lambda query: asked.append(query) or SHELF[query])


def test_multi_query_looks_for_each_line_and_fuses_the_ranks(model):
    asked = []
    llm = model("1. swimming hours\n\n- opening of the bath\npool?\nnever looked for")
    made = MultiQuery(llm=llm, retriever=finding(asked), n=3).invoke("pool?")
    assert sorted(asked) == sorted(made["queries"]) == sorted(["pool?", "swimming hours", "opening of the bath"])
    assert "Write 3 different search queries" in llm.asked[0][-1].text and "Question: pool?" in llm.asked[0][-1].text
    b = (1 / 62 + 1 / 61 + 1 / 61) / (3 / 61)  # second, first and first
    assert [p.page_content for p in made["passages"]] == ["b", "a"]  # as many as the longest ranking has
    assert made["passages"][0].metadata["score"] == pytest.approx(b)
    assert made["passages"][0].metadata["why"] == "query 1: 2, query 2: 1, query 3: 1"
    assert made["passages"][1].metadata["why"] == "query 1: 1, query 2: –, query 3: –"
    three = MultiQuery(llm=llm, retriever=finding([]), k=3).run("pool?")
    assert [p.page_content for p in three] == ["b", "a", "c"]


def test_hyde_looks_for_an_answer_of_each_call(model):
    asked, written = [], iter(["It opens at nine.", "swimming hours"])
    llm = model(lambda text: next(written))
    made = HyDE(llm=llm, retriever=finding(asked), n=2).invoke("pool?")
    assert made["queries"] == ["pool?", "It opens at nine.", "swimming hours"]
    assert len(llm.asked) == 2 and "Write a short passage" in llm.asked[0][-1].text
    # b is second, second and first; c is nowhere, first and second; a is first once
    assert [p.page_content for p in made["passages"]] == ["b", "c"]


def test_a_model_that_says_nothing_leaves_the_question(model):
    made = HyDE(llm=model("  "), retriever=finding([])).invoke("pool?")
    assert made["queries"] == ["pool?"] and [p.page_content for p in made["passages"]] == ["a", "b"]


def test_a_korean_question_is_reworded_in_korean(model):
    llm = model("수영장")
    MultiQuery(llm=llm, retriever=RunnableLambda(lambda query: [A])).invoke("언제 여나요?")
    assert "검색어를 3개" in llm.asked[0][-1].text


def test_each_stands_where_a_retriever_stands(model):
    llm = model("It opens at nine.")
    inner = MultiQuery(llm=model("swimming hours"), retriever=finding([]))
    made = RetrievalChain(llm=llm, retriever=inner).invoke("pool?")
    assert [p.page_content for p in made["passages"]] == ["b", "a"] and made["answer"] == "It opens at nine."
    outer = HyDE(llm=model("pool?"), retriever=inner)
    assert [p.page_content for p in outer.run("pool?")] == ["b", "a"]
    assert asyncio.run(outer.ainvoke("pool?"))["queries"] == ["pool?"]


def test_one_failing_question_does_not_take_the_batch_with_it(model):
    def find(query):
        if query == "bad":
            raise ValueError("no such shelf")
        return [A]

    chain = HyDE(llm=model("x"), retriever=RunnableLambda(find))
    bad, good = chain.batch(["bad", "pool?"], return_exceptions=True)
    assert isinstance(bad, ValueError) and good["passages"][0].page_content == "a"
    with pytest.raises(UsageError, match="n is 0; give how many"):
        HyDE(llm=model("x"), retriever=finding([]), n=0)
    with pytest.raises(UsageError, match="the retriever returned a int"):
        HyDE(llm=model("x"), retriever=RunnableLambda(lambda query: 3)).run("pool?")
