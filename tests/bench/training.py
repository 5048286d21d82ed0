"""Ours and TRL's trainer on the same batches of one model, in turn.

The curves are compared before any speed: a side whose losses differ gets no ratio. Both get rows of like length together.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.bench.compare import Side, alternate, comparison, say

NEAR = {"fp32": 2e-3, "bf16": 3e-2}
"""How far two curves may lie apart, relative to the loss."""


def options(doc: str | None) -> argparse.ArgumentParser:
    """Return the options that a training benchmark takes."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="a model folder, its template with generation marks")
    parser.add_argument("--data", type=Path, required=True, help="JSONL rows to learn")
    parser.add_argument(
        "--trl", default=os.environ.get("CHAINTUNE_TRL"), help="a python with trl 1.16 (default: CHAINTUNE_TRL)"
    )
    parser.add_argument("--dtype", choices=NEAR, default="bf16")
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cores", type=int, nargs="+", default=[0])
    parser.add_argument("--json", action="store_true")
    return parser


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the file's rows."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def compare(
    given: argparse.Namespace, stage: str, batches: Sequence[Any], units: Callable[[int], int], unit: str
) -> None:
    """Run both sides in turn and say how many `unit` a second each does; `units` counts those of a batch by its number."""
    told = {"folder": str(given.folder.resolve()), "threads": given.threads, "cores": given.cores, "dtype": given.dtype}
    told |= {"stage": stage, "batches": batches}
    ours = Side("ours", sys.executable, {**told, "side": "train"})
    theirs = Side("trl 1.16", given.trl, {**told, "side": "trl"})
    log = Path(os.environ.get("TMPDIR", "/tmp")) / "chaintune-bench.log"
    alternate([ours, theirs], given.rounds, log)
    row = {
        "bench": stage,
        "peer": theirs.name,
        "path": "ours",
        "model": given.folder.name,
        "dtype": given.dtype,
        "threads": given.threads,
    }
    if failed := ours.failed or theirs.failed or _apart(ours, theirs, given.dtype):
        return say(given, {**row, "not_compared": failed})
    timed = sum(units(number) for number in range(2, len(batches)))
    for run in [*ours.runs, *theirs.runs]:
        run |= {"rate": timed / run["answers"]["wall_s"], "cpu_rate": timed / run["answers"]["cpu_s"]}
    by_cpu = comparison(ours, theirs, "cpu_rate", unit)
    more = {"cpu_ratio": by_cpu["ratio"], "ours_by_cpu": by_cpu["ours"], "theirs_by_cpu": by_cpu["theirs"]}
    say(given, comparison(ours, theirs, "rate", f"{unit}/s", **row) | more)


def _apart(ours: Side, theirs: Side, dtype: str) -> str:
    mine, its = ours.runs[0]["answers"]["losses"], theirs.runs[0]["answers"]["losses"]
    off = max((abs(a - b) / b for a, b in zip(mine, its, strict=True)), default=0.0)
    return f"the loss curves differ by {off:.2g}" if off > NEAR[dtype] else ""
