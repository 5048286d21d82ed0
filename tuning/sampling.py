"""A few rows of a JSONL file of any size: the first ones, or a seeded sample in which every row has the same chance."""

import heapq
import random
from itertools import islice
from pathlib import Path

from chains.errors import UsageError
from tuning.lines import Advance, Line, Meter, Row, lines, writing


def head(path: str | Path, count: int) -> list[Row]:
    """Return the first rows of the file, at most `count`; no more of it is read."""
    return [line.row() for line in islice(lines(path), count)]


def sample(path: str | Path, out: Path, count: int, seed: int = 0, advance: Advance | None = None) -> int:
    """Write `count` rows of `path`, in their order, into `out`; return how many rows there were.

    Every row draws a number and the smallest stay (reservoir sampling with random keys), so memory holds `count` rows.
    Raises UsageError where there are fewer rows than that.
    """
    if count < 1:
        raise UsageError(f"a sample of {count} rows cannot be taken; ask for at least 1")
    rng, rows = random.Random(seed), 0
    kept: list[tuple[float, int, Line]] = []
    for line in lines(path, Meter(advance, [path])):
        rows += 1
        heapq.heappush(kept, (-rng.random(), line.number, line))
        if len(kept) > count:
            heapq.heappop(kept)
    if rows < count:
        raise UsageError(f"{path} has {rows} rows, fewer than the {count} asked for; ask for at most {rows}")
    with writing([out], [Path(path)]) as (file,):
        for _, _, line in sorted(kept, key=lambda found: found[1]):
            line.row()
            file.write(line.raw + b"\n")
    return rows
