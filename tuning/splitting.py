"""A JSONL file of any size cut into parts by its prompts: the same prompt is never on two sides, and equal rows neither.

Prompts are ordered by a seeded hash of their content, and parts are cut from that order: one reading counts, a second one writes. Memory is
8 bytes a row, and 9 a prompt. A row added to the file changes the places of few others.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from tuning.lines import Advance, Meter, lines, prompt, writing


def split(
    path: str | Path,
    outs: Sequence[Path],
    fractions: Sequence[float],
    seed: int = 0,
    by: str | None = None,
    advance: Advance | None = None,
) -> list[int]:
    """Write the rows of `path` into `outs`, in their order, by `fractions`; return how many went into each, none of them 0.

    Rows with the same prompt, or with `by` the same field, stay together. Raises UsageError unless the fractions are positive and add up to 1
    and there is a prompt for each part.
    """
    import numpy

    if not fractions or not min(fractions) > 0 or not abs(sum(fractions) - 1) <= 1e-6:
        raise UsageError(f"fractions {list(fractions)} cannot split the rows; give positive numbers that add up to 1")
    meter = Meter(advance, [path], times=2)
    hashes = numpy.fromiter((place(prompt(line, by), seed) for line in lines(path, meter)), dtype=numpy.uint64)
    groups, sizes = numpy.unique(hashes, return_counts=True)
    if len(groups) < len(fractions):
        raise UsageError(
            f"{path}: {len(groups)} different prompts cannot fill {len(fractions)} parts; add rows, or ask for fewer parts"
        )
    parts = _parts(sizes.tolist(), fractions)
    counts = [0] * len(fractions)
    with writing(outs, [Path(path)]) as files:
        for line, found in zip(lines(path, meter), hashes, strict=True):
            part = parts[int(numpy.searchsorted(groups, found))]
            files[part].write(line.raw + b"\n")
            counts[part] += 1
    return counts


def place(key: bytes, seed: int) -> int:
    """Return 64 bits for `key` under `seed`: its place in the order of the split."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=8, key=str(seed).encode()).digest(), "big")


def _parts(sizes: Sequence[int], fractions: Sequence[float]) -> Any:
    """Return the part of each group: each part is filled to its bound, and the last groups go to parts that would stay empty."""
    bounds = [sum(fractions[: i + 1]) * sum(sizes) for i in range(len(fractions))]
    parts, empty, placed = bytearray(), list(range(len(fractions))), 0
    for number, size in enumerate(sizes):
        part = next((i for i, bound in enumerate(bounds) if placed < bound - 1e-6), len(fractions) - 1)
        if len(empty) == len(sizes) - number:
            part = empty[0]
        if part in empty:
            empty.remove(part)
        parts.append(part)
        placed += size
    return parts
