"""The figures of a JSONL file of any size, in one reading: how many rows of which form, who says how much, how long, how often the same."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuning.lines import Advance, Meter, Row, digest, digest_of, lines, prompt, texts

PERCENTILES = (0, 5, 25, 50, 75, 95, 100)


@dataclass(frozen=True)
class Stats:
    """`keys` counts the rows' sets of keys; messages and characters are by role; the percentiles of a row's characters are nearest-rank."""

    rows: int
    bytes: int
    keys: dict[str, int]
    messages: dict[str, int]
    characters: dict[str, int]
    percentiles: dict[str, int]
    distinct_rows: int
    distinct_prompts: int
    korean: float


def stats(path: str | Path, advance: Advance | None = None) -> Stats:
    """Return the figures of `path`. `korean` is the share of rows with Hangul in them. Memory is 24 bytes a row."""
    import numpy

    keys: Counter[str] = Counter()
    messages: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    size = korean = 0

    def read() -> Iterable[tuple[int, int, int]]:
        nonlocal size, korean
        for line in lines(path, Meter(advance, [path])):
            row = line.row()
            size += len(line.raw) + 1
            keys[", ".join(sorted(row))] += 1
            for role, text in _said(row):
                messages[role] += 1
                characters[role] += len(text)
            said = list(texts(row))
            korean += any("가" <= letter <= "힣" for text in said for letter in text)
            yield sum(map(len, said)), _half(digest(row)), _half(digest_of(prompt(line)))

    found: Any = numpy.fromiter(read(), dtype=[("length", "i8"), ("row", "i8"), ("prompt", "i8")])
    lengths = numpy.sort(found["length"])
    return Stats(
        rows=len(found), bytes=size, keys=dict(keys.most_common()), messages=dict(messages), characters=dict(characters),
        percentiles={f"p{p}": int(lengths[max(0, -(-p * len(lengths) // 100) - 1)]) for p in PERCENTILES if len(lengths)},
        distinct_rows=len(numpy.unique(found["row"])), distinct_prompts=len(numpy.unique(found["prompt"])),
        korean=korean / len(found) if len(found) else 0.0,
    )  # fmt: skip


def _half(key: bytes) -> int:
    return int.from_bytes(key[:8], "big", signed=True)


def _said(row: Row) -> Iterable[tuple[str, str]]:
    """Yield (who, what) of each message; of a row without messages, (key, text)."""
    inner = row["input"] if isinstance(row.get("input"), dict) else row
    for name, role, content in (("messages", "role", "content"), ("conversations", "from", "value")):
        said = inner.get(name)
        if isinstance(said, list):
            for message in said:
                if isinstance(message, dict):
                    yield str(message.get(role)), "".join(texts(message.get(content)))
            return
    for key, value in row.items():
        if text := "".join(texts(value)):
            yield key, text
