"""Rows that are nearly the same, found on disk: MinHash with one permutation (Li, Owen, Zhang, arXiv 1208.1259), densified by rotation, and
bands (locality-sensitive hashing); what falls together is compared by all its 8-byte pieces before it is called near.

datasketch does the same with a Python loop over every piece and all of its index in memory; here a row costs tens of microseconds and the
index lies on disk.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tuning.data.ledger import Ledger, key

PIECE = 8
BINS = 64
BANDS, WIDTH = 12, 5
NEAR = 0.85
"""The share of pieces in common (Jaccard) from which on two rows are near."""
HELD = 4096
_M1, _M2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_EDGES = np.arange(BINS, dtype=np.uint64) << np.uint64(58)


def pieces(text: bytes) -> Any:
    """Return the hashes of all 8-byte pieces of `text`, sorted, as uint64."""
    raw = text if len(text) >= PIECE else text.ljust(PIECE)
    view: Any = np.ndarray((len(raw) - PIECE + 1,), "<u8", raw, 0, (1,))
    mixed = view * _M1
    mixed ^= mixed >> np.uint64(29)
    mixed *= _M2
    mixed ^= mixed >> np.uint64(32)
    mixed.sort()
    return mixed


def signature(sorted_pieces: Any) -> Any:
    """Return 64 numbers of 16 bits: two texts have each in common with the chance that they have a piece in common."""
    firsts = np.searchsorted(sorted_pieces, _EDGES)
    full = np.diff(np.r_[firsts, len(sorted_pieces)]) > 0
    values = (sorted_pieces[np.minimum(firsts, len(sorted_pieces) - 1)] >> np.uint64(20)).astype(np.uint16)
    if not full.all():
        places = np.flatnonzero(full)
        follow = places[np.searchsorted(places, np.arange(BINS)) % len(places)]
        distance = ((follow - np.arange(BINS)) % BINS).astype(np.uint16)
        values = np.where(full, values, values[follow] + distance * np.uint16(7919))
    return values


def jaccard(one: Any, other: Any) -> float:
    """Return the share of different pieces that both have."""
    one, other = np.unique(one), np.unique(other)
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)


class Near:
    """Texts of rows, noted one by one; `pairs` gives the near ones. A context manager: its files go with it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="chaintune-near-")
        folder = Path(self._folder.name)
        self._texts = (folder / "texts").open("w+b")
        self._index = (folder / "index").open("w+b")
        self._signatures = (folder / "signatures").open("w+b")
        self._bands = [Ledger() for _ in range(BANDS)]
        self._count, self._end = 0, 0

    def add(self, text: str, line: int) -> None:
        """Note the text of a row; case and spaces make no difference."""
        raw = " ".join(text.lower().split()).encode("utf-8", "replace")
        found = signature(pieces(raw))
        self._signatures.write(found.tobytes())
        self._index.write(np.array([self._end, len(raw), line], dtype=np.uint64).tobytes())
        self._texts.write(raw)
        self._end += len(raw)
        packed = found.tobytes()
        for band in range(BANDS):
            start = band * WIDTH * 2
            self._bands[band].add(key(packed[start : start + WIDTH * 2]), 0, self._count)
        self._count += 1

    def pairs(self, skip: set[int]) -> Iterator[tuple[int, int, float]]:
        """Yield (line, the earlier line that it is near, share in common), each line once; lines in `skip` are left out."""
        if not self._count:
            return
        for file in (self._texts, self._index, self._signatures):
            file.flush()
        index: Any = np.memmap(self._index.name, dtype=np.uint64, mode="r").reshape(-1, 3)
        signatures: Any = np.memmap(self._signatures.name, dtype=np.uint16, mode="r").reshape(-1, BINS)
        told = bytearray(self._count)
        for band in self._bands:
            for group in band.groups():
                yield from self._within([n for _, n in group if not told[n]], index, signatures, told, skip)

    def _within(
        self, rows: list[int], index: Any, signatures: Any, told: bytearray, skip: set[int]
    ) -> Iterator[tuple[int, int, float]]:
        rows = [row for row in rows if int(index[row, 2]) not in skip]
        if len(rows) < 2:
            return
        first, rest = rows[0], np.array(rows[1:])
        alike = np.zeros(len(rest), dtype=bool)
        for start in range(0, len(rest), HELD):
            block = signatures[rest[start : start + HELD]]
            alike[start : start + HELD] = (block == signatures[first]).mean(axis=1) >= NEAR - 0.2
        if not alike.any():
            return
        base = pieces(self._text(index, first))
        for row in rest[alike]:
            share = jaccard(base, pieces(self._text(index, int(row))))
            if share >= NEAR:
                told[row] = 1
                yield int(index[row, 2]), int(index[first, 2]), share

    def _text(self, index: Any, row: int) -> bytes:
        self._texts.seek(int(index[row, 0]))
        return self._texts.read(int(index[row, 1]))

    def __enter__(self) -> "Near":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._texts, self._index, self._signatures):
            file.close()
        for band in self._bands:
            band.__exit__(None, None, None)
        self._folder.cleanup()
