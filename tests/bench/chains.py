"""Chains of a local model, ours and LangChain's: `python -m tests.bench.chains [--json] [--rounds 5] [--inputs 64] [--cache FOLDER]`.

A batch goes through three steps, each of which reads what the one before wrote, on one and the same LocalChat. Answers end at a letter, so
that they differ in length: an input that is done early is where a step for all at once leaves the engine half empty. Ours records its
runs. The two take turns, A B A B, in one process, and must write the same.
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

from chains import LLMChain, LocalChat, SequentialChain, runs
from tests.bench import models

STEPS = (("topic", "outline"), ("outline", "draft"), ("draft", "title"))
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
    table = [(seconds(lambda: mine.batch(inputs)), seconds(lambda: other.batch(inputs))) for _ in range(rounds)]
    a, b = (statistics.median(column) for column in zip(*table, strict=True))
    ratios = [theirs / ours for ours, theirs in table]
    return {"bench": f"SequentialChain.batch({len(inputs)}) of {len(STEPS)}", "peer": "LCEL assign", "model": llm.model_name,
            "dtype": llm.dtype, "threads": int(os.environ.get("OMP_NUM_THREADS", 0)), "unit": "s", "ours": round(a, 3),
            "theirs": round(b, 3), "ratio": round(b / a, 2), "ratio_min": round(min(ratios), 2),
            "ratio_max": round(max(ratios), 2), "rss_ratio": None, "rounds": rounds}  # fmt: skip


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inputs", type=int, default=64)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "chaintune-bench")
    given = parser.parse_args()
    os.environ["LANGSMITH_TRACING"] = "false"
    source = models.folder(given.cache, "S")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHAINTUNE_HOME"] = folder
        llm = LocalChat(str(source), model_name="S", temperature=0, max_tokens=32, stop=["e"])
        row = compared(llm, [{"topic": f"number {place}"} for place in range(given.inputs)], given.rounds)
        line = "{bench}: {ours} s, {peer} {theirs} s: {ratio} x ({ratio_min} to {ratio_max})"
        print(json.dumps(row) if given.json else line.format(**row))
        runs.close()


if __name__ == "__main__":
    main()
