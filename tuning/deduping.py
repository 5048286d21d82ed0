"""Rows that stand there twice, or nearly, left out of a JSONL file of any size; the first of each stays.

Exact: a digest of the row, in a database on disk. Near: MinHash (Broder 1997; datasketch) over pieces of 5 letters, 32 bands of 4 hashes on disk,
and every candidate checked by its true Jaccard share before it goes. A pair at the threshold 0.8 shares a band with probability 1 - 5e-8, at 0.6
with 0.99. Only rows that stay are indexed.
"""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from tuning.lines import Advance, Line, Meter, digest, digest_of, lines, prompt, texts, writing

BANDS, WIDTH = 32, 4
PIECE = 5
LEAST_NEAR = 0.5
SHOWN = 20


@dataclass(frozen=True)
class Deduped:
    """How many rows stayed and went; `pairs` are the first (line that went, line that stayed, share in common)."""

    rows: int
    exact: int
    near: int
    pairs: list[tuple[int, int, float]] = field(default_factory=list)


def dedupe(
    path: str | Path, out: Path, near: float | None = None, on: str = "row", advance: Advance | None = None
) -> Deduped:
    """Write the rows of `path` that no earlier row equals into `out`; with `near`, nor any that shares as much of its text pieces with one.

    `on` says what is compared: the whole row, or its prompt. Raises UsageError for a threshold outside 0.5 to 1.
    """
    if near is not None and not LEAST_NEAR <= near <= 1:
        raise UsageError(f"near={near} cannot be used; give a share from {LEAST_NEAR} to 1, for example 0.8")
    if on not in ("row", "prompt"):
        raise UsageError(f"on={on!r} is unknown; use 'row' or 'prompt'")
    kept = exact = alike = 0
    pairs: list[tuple[int, int, float]] = []
    with (
        tempfile.TemporaryDirectory(prefix="chaintune-dedupe-") as folder,
        closing(_Index(Path(folder))) as index,
        writing([out], [Path(path)]) as (file,),
    ):
        for line in lines(path, Meter(advance, [path])):
            content, found = _content(line, on)
            twin = index.equal(content, line)
            match = None if twin or near is None else index.near(found, line, near)
            if twin:
                exact += 1
                pairs.append((line.number, twin, 1.0))
            elif match:
                alike += 1
                pairs.append((line.number, *match))
            else:
                file.write(line.raw + b"\n")
                kept += 1
            del pairs[SHOWN:]
    return Deduped(kept, exact, alike, pairs)


def _content(line: Line, on: str) -> tuple[bytes, str]:
    if on == "prompt":
        key = prompt(line)
        return digest_of(key), key.decode()
    row = line.row()
    return digest(row), "\n".join(texts(row))


def pieces(text: str) -> frozenset[bytes]:
    """Return all pieces of 5 letters of `text`; case and spaces make no difference."""
    plain = " ".join(text.lower().split())
    return frozenset(plain[i : i + PIECE].encode("utf-8", "replace") for i in range(max(1, len(plain) - PIECE + 1)))


def jaccard(one: frozenset[bytes], other: frozenset[bytes]) -> float:
    """Return the share of pieces that both have."""
    return len(one & other) / len(one | other)


class _Index:
    """What has stayed so far, on disk: digests, and the bands of the signatures with where their rows stand in the file."""

    def __init__(self, folder: Path) -> None:
        import apsw

        self._db = apsw.Connection(str(folder / "index.db"))
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE seen (key BLOB PRIMARY KEY, line INTEGER) WITHOUT ROWID",
            "CREATE TABLE bands (key BLOB, line INTEGER, PRIMARY KEY (key, line)) WITHOUT ROWID",
            "CREATE TABLE texts (line INTEGER PRIMARY KEY, text TEXT)",
            "BEGIN",
        ):
            self._db.execute(statement)
        self._text = lru_cache(maxsize=4096)(self._pieces_of)

    def equal(self, key: bytes, line: Line) -> int | None:
        """Return the line of an earlier equal row; where there is none, note this one."""
        for (number,) in self._db.execute("SELECT line FROM seen WHERE key = ?", (key,)):
            return int(number)
        self._db.execute("INSERT INTO seen VALUES (?, ?)", (key, line.number))
        return None

    def near(self, text: str, line: Line, least: float) -> tuple[int, float] | None:
        """Return (line, share) of the earlier row that has most in common, if at least `least`; where there is none, note this one."""
        mine = pieces(text)
        bands = list(_bands(mine))
        marks = ",".join("?" * len(bands))
        candidates = self._db.execute(f"SELECT DISTINCT line FROM bands WHERE key IN ({marks})", bands).fetchall()
        found = [(jaccard(mine, self._text(number)), -number) for number in (int(str(row[0])) for row in candidates)]
        if found and max(found)[0] >= least:
            share, number = max(found)
            return -number, round(share, 4)
        self._db.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", [(band, line.number) for band in bands])
        self._db.execute("INSERT INTO texts VALUES (?, ?)", (line.number, text))
        return None

    def _pieces_of(self, number: int) -> frozenset[bytes]:
        for (text,) in self._db.execute("SELECT text FROM texts WHERE line = ?", (number,)):
            return pieces(text)
        raise AssertionError(f"line {number} is in a band but has no text")

    def close(self) -> None:
        self._db.close()


def _bands(found: frozenset[bytes]) -> Iterator[bytes]:
    from datasketch import MinHash

    signature = MinHash(num_perm=BANDS * WIDTH, seed=1)
    signature.update_batch(found)
    values: Any = signature.hashvalues.astype("<u8")
    for band in range(BANDS):
        yield bytes([band]) + values[band * WIDTH : (band + 1) * WIDTH].tobytes()
