"""From a table's columns to examples: the names put right, what is too much left out, rows without a completion removed."""

from pathlib import Path
from typing import Any

from chains.errors import UsageError, nearest
from tuning.prepare.examples import Example
from tuning.prepare.note import Note
from tuning.prepare.table import Table

FIELDS = ("prompt", "completion")


def examples_of(table: Table, path: Path) -> tuple[list[Example], list[Note], list[Note]]:
    """Return the examples, what was seen, and what was necessary. Raises UsageError where a column is missing."""
    seen: list[Note] = []
    necessary: list[Note] = []
    columns = list(table.columns)
    for field in FIELDS:
        if field not in columns:
            columns[_place(columns, field, path)] = field
            seen.append(Note("column_case", {"column": field}))
            necessary.append(Note("lower_column", {"column": field}))
    if len(columns) > len(FIELDS):
        extra = _extra(columns, path)
        seen.append(Note("extra_columns", {"columns": extra}))
        necessary.append(Note("drop_columns", {"columns": extra}))
    at = [columns.index(field) for field in FIELDS]
    examples = [
        Example(label, *(row[place] for place in at)) for label, row in zip(table.labels, table.rows, strict=True)
    ]
    empty = [place for place, example in enumerate(examples) if not example.completion]
    if empty:
        seen.append(Note("empty_rows", {"rows": empty}))
        necessary.append(Note("drop_empty", {"count": len(empty)}))
    return [example for example in examples if example.completion], seen, necessary


def _place(columns: list[Any], field: str, path: Path) -> int:
    for place, name in enumerate(columns):
        if str(name).lower() == field:
            return place
    have = [str(name) for name in columns]
    raise UsageError(
        f"{path}: no column {field!r}; the file has {', '.join(map(repr, have)) or 'none'}{nearest(field, have)}; "
        "name the columns 'prompt' and 'completion'"
    )


def _extra(columns: list[Any], path: Path) -> list[str]:
    extra = [name for name in columns if name not in FIELDS]
    for name in extra:
        if not isinstance(name, str):
            raise UsageError(f"{path}: the column {name!r} has a name that is no text; rename it or remove it")
    return extra
