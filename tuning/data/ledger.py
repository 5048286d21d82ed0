"""Keys of rows on disk, so that a file larger than memory is looked through for equal ones: partitioned as they come, sorted part by part."""

import tempfile
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

PARTS = 64
HELD = 50_000
"""Rows in memory: 24 bytes each."""


def key(text: str | bytes) -> int:
    """Return 64 bits that are equal for equal texts, and for others with a chance of 2^-64."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), "little")


class Ledger:
    """(key, value, line) of every row; `groups` gives back those with equal keys. A context manager: its files go with it."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # made when the rows in memory are too many
        self._held = array("Q")
        self.count = 0

    def add(self, key: int, value: int, line: int) -> None:
        """Note one row."""
        self._held.extend((key, value, line))
        self.count += 1
        if len(self._held) >= 3 * HELD:
            self._flush()

    def groups(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the (value, line) of the rows of each key that came more than once, in the order they came."""
        for rows in self._parts():
            starts = np.flatnonzero(np.r_[True, rows[1:, 0] != rows[:-1, 0]])
            ends = np.r_[starts[1:], len(rows)]
            for place in np.flatnonzero(ends - starts > 1):
                yield [(int(value), int(line)) for _, value, line in rows[starts[place] : ends[place]]]

    def _parts(self) -> Iterator[Any]:
        """Yield the rows sorted by key, (rows, 3) at a time; equal keys lie in the same part."""
        if self._folder is None:
            yield _ordered(np.array(self._held, dtype=np.uint64).reshape(-1, 3))
            return
        self._flush()
        for path in sorted(Path(self._folder.name).iterdir()):
            yield _ordered(np.fromfile(path, dtype=np.uint64).reshape(-1, 3))

    def _flush(self) -> None:
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="chaintune-check-")
        rows = _ordered(np.array(self._held, dtype=np.uint64).reshape(-1, 3))
        self._held = array("Q")
        bounds = np.searchsorted(rows[:, 0] >> np.uint64(58), np.arange(PARTS + 1))
        for part in range(PARTS):
            if bounds[part] < bounds[part + 1]:
                with (Path(self._folder.name) / f"{part:02d}").open("ab") as file:
                    file.write(rows[bounds[part] : bounds[part + 1]].tobytes())

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder:
            self._folder.cleanup()


def _ordered(rows: Any) -> Any:
    return rows[np.argsort(rows[:, 0], kind="stable")]
