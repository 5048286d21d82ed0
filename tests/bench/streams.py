"""64 streams at once, through `stream` in threads and through `astream`: does each get its share, and does none fail."""

import argparse
import statistics
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tests.bench.compare import Side, alternate, say, spec


def run(given: argparse.Namespace, name: str, dtype: str) -> None:
    """Say how evenly the streams are served."""
    side = Side("streams", sys.executable, {**spec(given, dtype), "side": "ours", "how": "streams"})
    alternate([side], 1, given.cache / "log.txt")
    if side.failed:
        sys.exit(f"{side.name}: {side.failed}")
    facts = {"bench": "generate streams", "model": name, "dtype": dtype, "threads": given.threads}
    for way, rows in side.runs[0]["answers"].items():
        say(given, {**facts, "path": way, **evenness(rows)})


def evenness(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the failures, how long the slowest stream took against the median one, the wait for the first piece and the gaps between pieces."""
    whole = [row for row in rows if not row["failure"] and row["times"]]
    figures: dict[str, Any] = {
        "streams": len(rows),
        "failed": len(rows) - len(whole),
        "failure": next((row["failure"] for row in rows if row["failure"]), ""),
    }
    if not whole:
        return figures
    took = [row["times"][-1] - row["began"] for row in whole]
    first = [1000 * (row["times"][0] - row["began"]) for row in whole]
    gaps = [1000 * (after - before) for row in whole for before, after in pairwise(row["times"])]
    return figures | {
        "slowest_to_median": round(max(took) / statistics.median(took), 2),
        "first_p50_ms": round(_share(first, 0.5), 1),
        "first_p99_ms": round(_share(first, 0.99), 1),
        "gap_p50_ms": round(_share(gaps, 0.5), 1),
        "gap_p99_ms": round(_share(gaps, 0.99), 1),
    }


def _share(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
