"""What every Runnable can do, our chains can: retry, fall back, stop after a time, be cancelled, be drawn."""

import asyncio
import itertools
import threading
import time

import pytest
from langchain_core.runnables import RunnableLambda

from chains import runs
from chains.best_of_n import BestOfN
from chains.errors import ModelError
from chains.llm_chain import LLMChain
from chains.models.fake import FakeChat
from chains.reflect import Reflect
from chains.router import Router
from chains.self_consistency import SelfConsistency
from chains.sequential import SequentialChain, SimpleSequentialChain
from chains.summarize import Summarize


def step(answers, key="text", template="{x}"):
    return LLMChain(llm=FakeChat(answers), prompt=template, output_key=key)


def shaky(times):
    """A step that fails that many times, then answers."""
    turns = itertools.count()

    def answer(x):
        if next(turns) < times:
            raise ConnectionError("gone")
        return f"{x}!"

    return answer


def chains(inner):
    """Each composite around one step."""
    return [
        SequentialChain(chains=[inner], input_variables=["x"]),
        SimpleSequentialChain(chains=[inner]),
        SelfConsistency(inner, n=1),
        BestOfN(inner, n=1, score=len),
        Reflect(inner, critic=lambda answer: "", rewrite=lambda answer: answer, score=len),
        Router({"only": inner}, by=lambda x: "only"),
    ]


@pytest.mark.parametrize("place", range(6))
def test_a_chain_that_fails_is_tried_again(place):
    chain = chains(shaky(2))[place].with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
    value = {"input": "a"} if place == 1 else {"x": "a"}
    assert "a!" in chain.invoke(value).values()
    assert [run.error is None for run in reversed(runs.recent())] == [False, False, True]


@pytest.mark.parametrize("place", range(6))
def test_a_chain_that_fails_has_a_fallback(place):
    spare = RunnableLambda(lambda given: "spare")
    chain = chains(shaky(9))[place].with_fallbacks([spare])
    value = {"input": "a"} if place == 1 else {"x": "a"}
    assert chain.invoke(value) == "spare"
    assert asyncio.run(chain.ainvoke(value)) == "spare"


def test_a_fallback_is_asked_for_the_failed_of_a_batch_alone():
    def picky(x):
        if x == "bad":
            raise ModelError("no")
        return x

    asked = []
    chain = SelfConsistency(picky, n=1).with_fallbacks(
        [RunnableLambda(lambda given: asked.append(given) or {"picky": "spare"})]
    )
    assert [made["picky"] for made in chain.batch([{"x": "a"}, {"x": "bad"}])] == ["a", "spare"]
    assert asked == [{"x": "bad"}]


def slow(seconds=30.0):
    async def wait(x):
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            ended.append(x)
            raise

    ended = []
    return wait, ended


@pytest.mark.parametrize("place", range(6))
def test_a_timeout_ends_the_step_that_runs(place):
    wait, ended = slow()
    chain = chains(wait)[place]

    async def bounded():
        async with asyncio.timeout(0.3):
            await chain.ainvoke({"input": "a"} if place == 1 else {"x": "a"})

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(bounded())
    assert time.monotonic() - started < 10
    assert ended == ["a"]
    assert "CancelledError" in runs.recent(1)[0].error


def test_a_cancelled_vote_ends_all_its_samples():
    wait, ended = slow()

    async def cancelled():
        task = asyncio.create_task(SelfConsistency(wait, n=4).ainvoke({"x": "a"}))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert ended == ["a"] * 4


def test_a_sequence_is_drawn_by_who_takes_whose_values():
    def join(draft, topic):
        return draft + topic

    chain = SequentialChain(
        chains=[step(["o"], "outline", "{topic} {style}"), step(["d"], "draft", "{outline} {style}"), join],
        input_variables=["topic", "style"],
        output_variables=["draft", "join"],
    )
    graph = chain.get_graph()
    names = {id: node.name for id, node in graph.nodes.items()}
    edges = {(names[edge.source], names[edge.target], edge.data) for edge in graph.edges}
    assert edges == {
        ("SequentialChainInput", "outline", "topic, style"),
        ("outline", "draft", "outline"),
        ("SequentialChainInput", "draft", "style"),
        ("draft", "join", "draft"),
        ("SequentialChainInput", "join", "topic"),
        ("draft", "SequentialChainOutput", "draft"),
        ("join", "SequentialChainOutput", "join"),
    }
    mermaid = graph.draw_mermaid()
    assert "outline -- &nbsp;outline&nbsp; --> draft;" in mermaid
    assert mermaid.index("SequentialChainInput") < mermaid.index("SequentialChainOutput")


def test_a_simple_sequence_is_drawn_as_a_line():
    graph = SimpleSequentialChain(chains=[step(["a"]), step(["b"])]).get_graph()
    assert [node.name for node in graph.nodes.values()] == [
        "SimpleSequentialChainInput", "text", "text 2", "SimpleSequentialChainOutput",
    ]  # fmt: skip
    assert len(graph.edges) == 3
    assert "text --> text_2;" in graph.draw_mermaid() or "text --> text\\202;" in graph.draw_mermaid()


def test_a_pipe_around_a_sequence_is_drawn():
    pipe = SequentialChain(chains=[step(["o"], "outline")], input_variables=["x"]) | RunnableLambda(lambda made: made)
    assert "outline" in pipe.get_graph().draw_mermaid()


def test_chains_run_in_threads_at_once():
    chain = SelfConsistency(Summarize(FakeChat(["s"])), n=2)
    made = []
    threads = [threading.Thread(target=lambda: made.append(chain.run("text"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["s"] * 6
    assert len(runs.recent()) == 6
