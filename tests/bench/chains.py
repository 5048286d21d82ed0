"""Chains of a local model: `python -m tests.bench.chains [steps|vote …] [--json] [--rounds 5] [--inputs 64] [--cache FOLDER]`.

steps, ours beside LangChain's: a batch goes through three steps, each of which reads what the one before wrote, on one and the same LocalChat. Answers end at a letter, so
that they differ in length: an input that is done early is where a step for all at once leaves the engine half empty. Ours records its
runs. The two take turns, A B A B, in one process, and must write the same.

vote: SelfConsistency of sixteen samples beside sixteen calls of its chain, with a seed (the samples must be the same) and without.
"""

import argparse
import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnablePassthrough

from chains import LLMChain, LocalChat, Prompt, SelfConsistency, SequentialChain, runs
from tests.bench import models

STEPS = (("topic", "outline"), ("outline", "draft"), ("draft", "title"))
PARTS = ("steps", "vote")
Given = list[dict[str, str]]


def ours(llm: Any) -> SequentialChain:
    """Return our chain of the steps."""
    parts = [LLMChain(llm=llm, prompt=f"Go on: {{{had}}}", output_key=new) for had, new in STEPS]
    return SequentialChain(chains=parts, input_variables=["topic"], output_variables=[new for _, new in STEPS])


def theirs(llm: Any) -> Any:
    """Return LCEL's of the same."""
    first, *rest = [
        RunnablePassthrough.assign(**{new: PromptTemplate.from_template(f"Go on: {{{had}}}") | llm | StrOutputParser()})
        for had, new in STEPS
    ]
    for part in rest:
        first = first | part
    return first


def seconds(call: Callable[[], Any]) -> float:
    """Return the seconds of one call, with the writing of what it recorded."""
    gc.collect()
    began = time.perf_counter()
    call()
    runs.flush()
    return time.perf_counter() - began


def compared(llm: Any, inputs: Given, rounds: int) -> dict[str, Any]:
    """Return the figures. Raises AssertionError where the two write differently."""
    mine, other = ours(llm), theirs(llm)
    if mine.batch(inputs) != other.batch(inputs):
        raise AssertionError("the two chains write differently")
    bench = f"SequentialChain.batch({len(inputs)}) of {len(STEPS)}"
    return measured(llm, bench, "LCEL assign", lambda: mine.batch(inputs), lambda: other.batch(inputs), rounds)


def voted(llm: Any, header: str, seed: int | None, rounds: int, n: int = 16) -> dict[str, Any]:
    """Return the figures. Raises AssertionError where a seed brings other samples than the calls with seed, seed + 1, …"""
    chain = LLMChain(llm=llm, prompt=Prompt.chat(system="{header}", user="{topic}"))
    vote, given = SelfConsistency(chain, n=n, seed=seed), {"header": header, "topic": "seven"}

    def calls() -> list[str]:
        return [chain.invoke(given, **({} if seed is None else {"seed": seed + i}))["text"] for i in range(n)]

    samples = [one.value for one in vote.invoke(given)["outcome"].candidates]
    if seed is not None and samples != calls():
        raise AssertionError("the samples are other than those of calls with the same seeds")
    bench = f"SelfConsistency of {n}, {'no seed' if seed is None else 'a seed'}"
    return measured(llm, bench, f"{n} calls", lambda: vote.invoke(given), calls, rounds)


def measured(
    llm: Any, bench: str, peer: str, mine: Callable[[], Any], other: Callable[[], Any], rounds: int
) -> dict[str, Any]:
    """Return the figures of two ways, measured in turn."""
    table = [(seconds(mine), seconds(other)) for _ in range(rounds)]
    a, b = (statistics.median(column) for column in zip(*table, strict=True))
    ratios = [theirs / ours for ours, theirs in table]
    return {"bench": bench, "peer": peer, "model": llm.model_name,
            "dtype": llm.dtype, "threads": int(os.environ.get("OMP_NUM_THREADS", 0)), "unit": "s", "ours": round(a, 3),
            "theirs": round(b, 3), "ratio": round(b / a, 2), "ratio_min": round(min(ratios), 2),
            "ratio_max": round(max(ratios), 2), "rss_ratio": None, "rounds": rounds}  # fmt: skip


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=[*PARTS, []], metavar="steps|vote", help="both, where none is named")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inputs", type=int, default=64)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "chaintune-bench")
    given = parser.parse_args()
    parts = given.what or PARTS
    os.environ["LANGSMITH_TRACING"] = "false"
    source = models.folder(given.cache, "S")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHAINTUNE_HOME"] = folder
        llm = LocalChat(str(source), model_name="S", temperature=0, max_tokens=32, stop=["e"])
        rows = []
        if "steps" in parts:
            rows.append(compared(llm, [{"topic": f"number {place}"} for place in range(given.inputs)], given.rounds))
        if "vote" in parts:
            free = LocalChat(str(source), model_name="S", temperature=0.8, max_tokens=48)
            header = models.requests(source, 1)[0]["messages"][0]["content"]
            rows += [voted(free, header, seed, given.rounds) for seed in (None, 7)]
        line = "{bench}: {ours} s, {peer} {theirs} s: {ratio} x ({ratio_min} to {ratio_max})"
        for row in rows:
            print(json.dumps(row) if given.json else line.format(**row))
        runs.close()


if __name__ == "__main__":
    main()
