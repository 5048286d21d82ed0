"""Which format a file is in, found by looking at its first rows; and every format by name."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from chains.errors import UsageError, nearest
from tuning.data.containers import Options, Rows
from tuning.data.findings import Row
from tuning.data.item import Item, Losses, Misfit
from tuning.data.shapes import instruct, openai, trl
from tuning.data.shapes.shape import Shape

LOOK = 200
"""Rows that are looked at."""

TABLE = instruct.table()
SHAPES: tuple[Shape, ...] = (
    openai.RANKINGS, openai.PREFERENCE, openai.REINFORCEMENT, openai.CHAT, instruct.SHAREGPT, *trl.SHAPES,
    openai.COMPLETION, instruct.ALPACA, TABLE,
)  # fmt: skip
"""Every format, the more special ones first: the first that fits a row is its format."""

ALIASES = {"chat": "openai-chat", "dpo": "openai-preference", "hh": "hh-rlhf", "preference": "openai-preference", "qa": "table",
           "reinforcement": "openai-reinforcement", "trl-language-modeling": "text", "trl-messages": "openai-chat",
           "openai-completion": "completion", "trl-prompt-completion-text": "completion"}  # fmt: skip


def _no_item(row: Row) -> Item:
    raise Misfit(("unknown-format", "", {"keys": ", ".join(map(repr, list(row)[:8]))}))


def _no_row(item: Item, losses: Losses) -> Row:
    raise Misfit(("unknown-format", "", {"keys": ""}))


RECORDS = Shape("records", "rows of no known format", "records", lambda row: True, _no_item, _no_row)


@dataclass(frozen=True)
class Kind:
    """What a file is: how it is stored, and what its rows are; `seen` counts the formats of the rows looked at."""

    container: str
    shape: Shape
    seen: dict[str, int]
    keys: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Both as words."""
        return f"{self.shape.title} ({self.container.upper() if self.container != 'text' else 'text'})"


def shape_named(name: str, question: str | None = None, answer: str | None = None) -> Shape:
    """Return the format called `name`. Raises UsageError, naming the nearest, where there is none."""
    known = {shape.name: shape for shape in SHAPES}
    name = ALIASES.get(name, name)
    if name == "table":
        return instruct.table(question or "question", answer or "answer")
    if name not in known:
        raise UsageError(f"no format {name!r}; have {', '.join(known)}{nearest(name, [*known, *ALIASES])}")
    return known[name]


def shape_of(row: Row) -> Shape:
    """Return the first format that fits the row, RECORDS where none does."""
    return next((shape for shape in SHAPES if shape.fits(row)), RECORDS)


def recognise(
    path: str | Path,
    options: Options = Options(),  # noqa: B008
    question: str | None = None,
    answer: str | None = None,
) -> Kind:
    """Return what the file is, by its first rows. `question` and `answer` name the columns of a table.

    Raises UsageError where the file cannot be read, holds no training rows by its kind, or has no such columns.
    """
    rows = Rows(path, options)
    found = [record.row for record in islice(rows, LOOK) if record.row is not None]
    seen = Counter(shape_of(row).name for row in found)
    keys = tuple(dict.fromkeys(key for row in found[:20] for key in row))
    if question or answer:
        return Kind(rows.container, _named_table(path, keys, question, answer), dict(seen), keys)
    name = seen.most_common(1)[0][0] if seen else ("text" if rows.container == "text" else "records")
    shape = next((shape for shape in SHAPES if shape.name == name), RECORDS)
    if shape is RECORDS or shape is TABLE:
        shape = _guessed_table(keys) or shape
    return Kind(rows.container, shape, dict(seen), keys)


def _named_table(path: str | Path, keys: Sequence[str], question: str | None, answer: str | None) -> Shape:
    guess = instruct.guess_columns(keys) or ("question", "answer")
    columns = question or guess[0], answer or guess[1]
    for column in columns:
        if column not in keys:
            raise UsageError(
                f"{path}: no column {column!r}; it has {', '.join(map(repr, keys)) or 'none'}{nearest(column, keys)}"
            )
    return instruct.table(*columns)


def _guessed_table(keys: Sequence[str]) -> Shape | None:
    columns = instruct.guess_columns(keys)
    return instruct.table(*columns) if columns else None
