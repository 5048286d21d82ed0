"""What a chain costs beside its model, ours and LangChain's: `python -m tests.bench.overhead [--json] [--rounds 7] [--calls 300]`.

The model is scripted and takes no time. Ours records every run, and its time includes writing what waits; LangChain's records nothing.
The two take turns, A B A B, in one process; a ratio is of the medians of the rounds, and above 1 ours is faster. The same model stands
on both sides, and langchain_core's own on its side too: the faster of the two is the peer. langchain_classic's LLMChain joins where it
is installed (peers.txt has the version).
"""

import argparse
import asyncio
import gc
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import RunnablePassthrough

from chains import LLMChain, SequentialChain, SimpleSequentialChain, runs
from chains.models.fake import FakeChat

ANSWER = "a perfect day"
ASK = "Describe a perfect day in {city}."
Case = tuple[str, dict[str, Callable[[], Any]], Callable[[], Any], int]  # name, peers, ours, items of one call


def models() -> dict[str, Any]:
    """Return the scripted models of the peer's side."""
    return {"FakeChat": FakeChat([ANSWER]), "FakeListChatModel": FakeListChatModel(responses=[ANSWER])}


def one_step() -> tuple[dict[str, Any], LLMChain]:
    """Return `prompt | model | parser` by name, and our chain of the same."""
    templates = {
        "PromptTemplate": PromptTemplate.from_template(ASK),
        "ChatPromptTemplate": ChatPromptTemplate.from_template(ASK),
    }
    theirs = {f"LCEL {kind} | {name}": prompt | model | StrOutputParser()
              for kind, prompt in templates.items() for name, model in models().items()}  # fmt: skip
    return theirs, LLMChain(llm=FakeChat([ANSWER]), prompt=ASK)


def steps(number: int) -> tuple[dict[str, Any], SequentialChain]:
    """Return chains of `number` steps, each of which reads what the one before wrote."""
    names = ["city", *(f"v{i}" for i in range(1, number + 1))]
    theirs = {}
    for kind, model in models().items():
        whole: Any = None
        for had, new in pairwise(names):
            part = PromptTemplate.from_template(f"Go on: {{{had}}}") | model | StrOutputParser()
            assign = RunnablePassthrough.assign(**{new: part})
            whole = assign if whole is None else whole | assign
        theirs[f"LCEL assign x{number} | {kind}"] = whole
    llm = FakeChat([ANSWER])
    parts = [LLMChain(llm=llm, prompt=f"Go on: {{{had}}}", output_key=new) for had, new in pairwise(names)]
    return theirs, SequentialChain(chains=parts, input_variables=["city"], output_variables=names[1:])


def simple(number: int) -> tuple[dict[str, Any], SimpleSequentialChain]:
    """Return chains of one value through `number` steps."""
    theirs = {}
    for kind, model in models().items():
        whole: Any = None
        for _ in range(number):
            part = PromptTemplate.from_template("Go on: {x}") | model | StrOutputParser()
            whole = part if whole is None else whole | part
        theirs[f"LCEL pipe x{number} | {kind}"] = whole
    llm = FakeChat([ANSWER])
    return theirs, SimpleSequentialChain(chains=[LLMChain(llm=llm, prompt="Go on: {x}") for _ in range(number)])


def cases(loop: asyncio.AbstractEventLoop) -> Iterator[Case]:
    """Yield what is compared."""
    given = {"city": "Paris"}
    theirs, ours = one_step()
    peers = {name: lambda chain=chain: chain.invoke(given) for name, chain in theirs.items()} | classic(given)
    yield "invoke", peers, lambda: ours.invoke(given)["text"], 1
    yield "batch of 64", {name: lambda chain=chain: chain.batch([given] * 64) for name, chain in theirs.items()}, \
        lambda: [made["text"] for made in ours.batch([given] * 64)], 64  # fmt: skip
    yield "stream", {name: lambda chain=chain: "".join(chain.stream(given)) for name, chain in theirs.items()}, \
        lambda: "".join(piece.get("text", "") for piece in ours.stream(given)), 1  # fmt: skip
    yield "ainvoke", {name: lambda chain=chain: loop.run_until_complete(chain.ainvoke(given)) for name, chain in theirs.items()}, \
        lambda: loop.run_until_complete(ours.ainvoke(given))["text"], 1  # fmt: skip
    for number in (2, 10):
        theirs, sequence = steps(number)
        yield f"SequentialChain of {number}", {name: lambda chain=chain: chain.invoke(given) for name, chain in theirs.items()}, \
            lambda sequence=sequence: sequence.invoke(given), 1  # fmt: skip
        theirs, line = simple(number)
        yield f"SimpleSequentialChain of {number}", {name: lambda chain=chain: chain.invoke("a") for name, chain in theirs.items()}, \
            lambda line=line: line.run("a"), 1  # fmt: skip


def classic(given: dict[str, str]) -> dict[str, Callable[[], Any]]:
    """Return langchain_classic's LLMChain, where it is installed."""
    try:
        from langchain_classic.chains import LLMChain as Classic
    except ImportError:
        return {}
    warnings.filterwarnings("ignore", module="langchain.*")
    chain = Classic(llm=FakeListChatModel(responses=[ANSWER]), prompt=PromptTemplate.from_template(ASK))
    return {"langchain_classic LLMChain": lambda: chain.invoke(given)["text"]}


def seconds(call: Callable[[], Any], calls: int) -> float:
    """Return the seconds of one call, with the writing of what it recorded; CPU time, so that other processes do not count."""
    gc.collect()
    began = time.process_time()
    for _ in range(calls):
        call()
    runs.flush()
    return (time.process_time() - began) / calls


def compared(case: Case, rounds: int, calls: int) -> Iterator[dict[str, Any]]:
    """Yield the figures of one case against each peer. Raises AssertionError where the outputs differ."""
    name, peers, ours, items = case
    calls = max(calls // items // (10 if "of 10" in name else 1), 3)
    for peer, theirs in peers.items():
        if theirs() != ours():
            raise AssertionError(f"{name}: {peer} gives {theirs()!r}, ours {ours()!r}")
    table: dict[str, list[float]] = {who: [] for who in ("ours", *peers)}
    for place in range(rounds + 1):
        for who, call in {"ours": ours, **peers}.items():
            took = seconds(call, calls) / items * 1e6
            if place:  # the first round warms up
                table[who].append(took)
    mine = table.pop("ours")
    for peer, took in table.items():
        ratios = [b / a for a, b in zip(mine, took, strict=True)]
        a, b = statistics.median(mine), statistics.median(took)
        yield {"bench": f"overhead {name}", "peer": peer, "model": "scripted", "dtype": None, "threads": 1, "unit": "us",
               "ours": round(a, 1), "theirs": round(b, 1), "ratio": round(b / a, 2), "ratio_min": round(min(ratios), 2),
               "ratio_max": round(max(ratios), 2), "rss_ratio": None, "rounds": rounds}  # fmt: skip


def main() -> None:
    """Compare all cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=300)
    given = parser.parse_args()
    os.environ["LANGSMITH_TRACING"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHAINTUNE_HOME"] = folder
        loop = asyncio.new_event_loop()
        for case in cases(loop):
            for row in compared(case, given.rounds, given.calls):
                line = "{bench:36} {ours:8} us   {peer:42} {theirs:8} us   {ratio:6} x ({ratio_min} to {ratio_max})"
                print(json.dumps(row) if given.json else line.format(**row), flush=True)
        loop.close()
        runs.close()


if __name__ == "__main__":
    main()
