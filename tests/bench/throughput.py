"""The whole job of 32 requests: useful tokens a second, and the memory that it takes above the loaded model."""

import argparse
import sys
from pathlib import Path
from typing import Any

from tests.bench import models, reference
from tests.bench.compare import Side, agreement, alternate, comparison, say, spec

OURS = ("engine", "batch", "ainvoke")
PEERS: dict[str, dict[str, Any]] = {
    "transformers one": {"side": "transformers", "how": "one"},
    "transformers static 8": {"side": "transformers", "how": "static", "slots": 8},
    "transformers static 32": {"side": "transformers", "how": "static", "slots": 32},
    "transformers continuous 8": {"side": "transformers", "how": "continuous", "slots": 8},
    "transformers continuous 32": {"side": "transformers", "how": "continuous", "slots": 32},
    "langchain-huggingface 8": {"side": "transformers", "how": "langchain", "slots": 8},
    "llama.cpp 8": {"side": "llama.cpp", "slots": 8},
    "llama.cpp 8 shared": {"side": "llama.cpp", "slots": 8, "shared": True},
    "llama.cpp 32 shared": {"side": "llama.cpp", "slots": 32, "shared": True},
}
SAMPLE = 6  # requests whose answers are compared
LEAST = 0.8  # of a side's tokens


def run(given: argparse.Namespace, name: str, dtype: str) -> None:
    """Compare the useful tokens a second."""
    facts = {"bench": "generate throughput", "model": name, "dtype": dtype, "threads": given.threads}
    ours, theirs = _measure(given, dtype, given.rounds)
    if not given.json:
        _table(facts, ours, theirs)
    for side, peer in ((side, peer) for side in ours for peer in theirs):
        row = {**facts, "peer": peer.name, "path": side.name}
        say(given, _refused(side, peer, row) or _rates(side, peer, row))


def _rates(ours: Side, theirs: Side, row: dict[str, Any]) -> dict[str, Any]:
    """Return the comparison by wall time, and beside it that of the CPU time, which other processes on the core disturb less."""
    by_cpu = comparison(ours, theirs, "cpu_rate", "")
    more = {"cpu_ratio": by_cpu["ratio"], "equal_ours": ours.runs[0]["equal"], "equal_theirs": theirs.runs[0]["equal"]}
    return comparison(ours, theirs, "rate", "useful tokens/s", **row) | more


def run_memory(given: argparse.Namespace, name: str, dtype: str) -> None:
    """Compare the most memory above the loaded model."""
    facts = {"bench": "generate memory", "model": name, "dtype": dtype, "threads": given.threads}
    ours, theirs = _measure(given, dtype, 1)
    for side, peer in ((side, peer) for side in ours for peer in theirs):
        row = {**facts, "peer": peer.name, "path": side.name}
        say(given, _refused(side, peer, row) or comparison(side, peer, "extra_mb", "MB above the loaded model", less=True, **row))  # fmt: skip


def _measure(given: argparse.Namespace, dtype: str, rounds: int) -> tuple[list[Side], list[Side]]:
    base = spec(given, dtype)
    ours = [Side(how, sys.executable, {**base, "side": "ours", "how": how}) for how in given.ours]
    theirs = [Side(peer, given.foreign, {**base, **PEERS[peer]}) for peer in given.only or PEERS]
    alternate([*ours, *theirs], rounds, given.cache / "log.txt", None if given.json else _progress)
    asked = models.requests(given.folder, given.limit)
    expected = reference.answers(given.folder, min(SAMPLE, len(asked)), given.threads)
    useful = sum(request["max_tokens"] for request in asked)
    for side in [*ours, *theirs]:
        for one in side.runs:
            one["rate"], one["cpu_rate"] = useful / one["wall_s"], useful / one["cpu_s"]
            _check(side, one, asked, expected)
    return ours, theirs


def _check(side: Side, one: dict[str, Any], asked: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Put into the run which share of the sample equals the reference, and which share of its tokens is right after its own text.

    Ours is refused where the first is not all in fp32, and any side where the second is below LEAST.
    """
    answers = one.pop("answers")[: len(expected)]
    tokens = not isinstance(answers[0], str)
    wanted = [answer["ids" if tokens else "text"] for answer in expected]
    one["equal"] = agreement(answers, wanted)  # what a side writes past a request's own limit is not looked at
    if side.spec["side"] == "ours" and side.spec["dtype"] == "fp32" and one["equal"] < 1:
        side.failed = f"{one['equal']:.1%} of its answers equal those of transformers, and all must"
    elif tokens:
        folder, threads = Path(side.spec["folder"]), side.spec["threads"]
        one["likeliest"] = reference.likeliest(folder, asked[: len(expected)], answers, threads)
        if one["likeliest"] < LEAST:
            side.failed = f"{one['likeliest']:.1%} of its tokens are what transformers gives after the same text"


def _refused(ours: Side, theirs: Side, row: dict[str, Any]) -> dict[str, Any] | None:
    """Return the row without a ratio where one of the two failed."""
    failed = [f"{side.name}: {side.failed}" for side in (ours, theirs) if side.failed]
    return {**row, "not_compared": "; ".join(failed)} if failed else None


def _progress(number: int, side: Side) -> None:
    one = side.runs[-1]
    line = f"round {number + 1}  {side.name:28} {one['wall_s']:7.2f} s  cpu {one['cpu_s']:7.2f} s"
    print(line, file=sys.stderr, flush=True)


def _table(facts: dict[str, Any], ours: list[Side], theirs: list[Side]) -> None:
    print(f"\n{facts['model']} {facts['dtype']}, {facts['threads']} thread(s)")
    print(f"  {'':28} tokens/s  per CPU s    +MB     equal  likeliest")
    for side in [*ours, *theirs]:
        if side.runs:
            rates = f"{side.median('rate'):8.1f} {side.median('cpu_rate'):10.1f} {side.runs[0]['extra_mb']:6.0f}"
            likeliest = f"{side.runs[0]['likeliest']:.1%}" if "likeliest" in side.runs[0] else ""
            print(f"  {side.name:28} {rates}  {side.runs[0]['equal']:8.1%} {likeliest:>10}  {side.failed}".rstrip())
        else:
            print(f"  {side.name:28} not measured: {side.failed}")
