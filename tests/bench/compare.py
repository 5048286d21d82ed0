"""Rounds of A B A B between processes, and what a comparison says.

Each side is a process of its own on the same cores (child.py). It loads and warms up once; while one side works the others are stopped.
A ratio is taken within a round, and above 1 it means that ours is better.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
QUIET = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}  # fmt: skip
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class SideFailed(Exception):
    """A side could not load or run; the message says why in one sentence."""


@dataclass
class Side:
    """One side of the comparison, and what its rounds gave."""

    name: str
    python: str
    spec: dict[str, Any]
    runs: list[dict[str, Any]] = field(default_factory=list)
    failed: str = ""

    def median(self, value: str) -> float:
        return statistics.median(run[value] for run in self.runs)


class Child:
    """The process of a side, stopped except while it is asked for something."""

    def __init__(self, side: Side, log: Path) -> None:
        threads = dict.fromkeys(THREADS, str(side.spec["threads"]))
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [side.python, "-m", "tests.bench.child", json.dumps(side.spec)],
                cwd=ROOT,
                env={**os.environ, **QUIET, **threads, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._log = log

    def ready(self) -> dict[str, Any]:
        """Wait until the side has loaded; it is stopped then."""
        return self._answer()

    def run(self) -> dict[str, Any]:
        """Let the side do the whole job once."""
        assert self._process.stdin
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(b"run\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        row = json.loads(line) if line else {"error": f"it ended without an answer; see {self._log}"}
        if "error" in row:
            raise SideFailed(row["error"])
        self._process.send_signal(signal.SIGSTOP)
        return row


@contextmanager
def children(sides: Sequence[Side], log: Path) -> Iterator[dict[str, Child]]:
    """Give the loaded processes of the sides that could load; the others say why in `failed`."""
    with ExitStack() as stack:
        loaded = {}
        for side in sides:
            child = Child(side, log)
            stack.callback(child.close)
            try:
                child.ready()
                loaded[side.name] = child
            except SideFailed as error:
                side.failed = str(error)
                child.close()
        yield loaded


def alternate(sides: Sequence[Side], rounds: int, log: Path, tell: Any = None) -> None:
    """Run every side once a round, in turn, and keep what each run gave in its `runs`."""
    with children(sides, log) as loaded:
        for number in range(rounds):
            for side in sides:
                if side.name in loaded and not side.failed:
                    try:
                        side.runs.append(loaded[side.name].run())
                    except SideFailed as error:
                        side.failed = str(error)
                        continue
                    if tell:
                        tell(number, side)


def comparison(ours: Side, theirs: Side, value: str, unit: str, *, less: bool = False, **facts: Any) -> dict[str, Any]:
    """Return one comparison as an object; `value` names what of the runs is compared, more of it being better unless `less`."""
    ratios = [a[value] / b[value] for a, b in zip(ours.runs, theirs.runs, strict=True)]
    if less:
        ratios = [1 / ratio for ratio in ratios]
    return {
        **facts,
        "unit": unit,
        "ours": round(ours.median(value), 2),
        "theirs": round(theirs.median(value), 2),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "rss_ratio": round(theirs.runs[0]["extra_mb"] / ours.runs[0]["extra_mb"], 2),
        "rounds": len(ratios),
    }


def spec(given: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """Return what every side's process is told."""
    told = {"folder": str(given.folder), "threads": given.threads, "cores": given.cores, "limit": given.limit}
    return {**told, "dtype": dtype}


def say(given: argparse.Namespace, row: dict[str, Any]) -> None:
    """Print one row, as a JSON object or for a reader."""
    if given.json:
        line = json.dumps(row)
    elif "not_compared" in row:
        line = f"  {row['path']} : {row['peer']}  no ratio; {row['not_compared']}"
    elif "ratio" in row:
        figures = f"{row['ratio']:7.2f}  ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})"
        line = f"  {row['path']:8} : {row['peer']:28} {figures}  {row['ours']:g} : {row['theirs']:g} {row['unit']}"
        line += f"  by CPU {row['cpu_ratio']:.2f}" if "cpu_ratio" in row else ""
    else:
        line = "  ".join(f"{key} {value}" for key, value in row.items())
    print(line, flush=True)


def agreement(answers: Sequence[Any], expected: Sequence[Any]) -> float:
    """Return which share of the expected tokens (of a text: characters) comes before the first one that differs."""
    same = sum(_beginning(answer, wanted) for answer, wanted in zip(answers, expected, strict=True))
    return same / sum(map(len, expected))


def _beginning(answer: Any, wanted: Any) -> int:
    differs = (n for n, (a, b) in enumerate(zip(answer, wanted, strict=False)) if a != b)
    return next(differs, min(len(answer), len(wanted)))
