"""Keys of rows on disk, so that a file larger than memory is looked through for equal ones: partitioned as they come, sorted part by part."""

import tempfile
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

PARTS = 64
HELD = 20_000


def key(text: str | bytes) -> int:
    """Return 64 bits that are equal for equal texts, and for others with a chance of 2^-64."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), "little")


class Ledger:
    """(key, value, line) of every row; `groups` gives back those with equal keys. A context manager: its files go with it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="chaintune-check-")
        self._held: list[tuple[int, int, int]] = []
        self.count = 0

    def add(self, key: int, value: int, line: int) -> None:
        """Note one row."""
        self._held.append((key, value, line))
        self.count += 1
        if len(self._held) >= HELD:
            self._flush()

    def _flush(self) -> None:
        rows = np.array(self._held, dtype=np.uint64).reshape(-1, 3)
        self._held.clear()
        order = np.argsort(rows[:, 0], kind="stable")
        rows = rows[order]
        bounds = np.searchsorted(rows[:, 0] >> np.uint64(58), np.arange(PARTS + 1))
        for part in range(PARTS):
            if bounds[part] < bounds[part + 1]:
                with self._part(part).open("ab") as file:
                    file.write(rows[bounds[part] : bounds[part + 1]].tobytes())

    def _part(self, part: int) -> Path:
        return Path(self._folder.name) / f"{part:02d}"

    def groups(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the (value, line) of the rows of each key that came more than once, in the order they came."""
        self._flush()
        for part in range(PARTS):
            path = self._part(part)
            if not path.exists():
                continue
            rows: Any = np.fromfile(path, dtype=np.uint64).reshape(-1, 3)
            rows = rows[np.argsort(rows[:, 0], kind="stable")]
            starts = np.flatnonzero(np.r_[True, rows[1:, 0] != rows[:-1, 0]])
            ends = np.r_[starts[1:], len(rows)]
            for place in np.flatnonzero(ends - starts > 1):
                yield [(int(value), int(line)) for _, value, line in rows[starts[place] : ends[place]]]

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()
