"""Excel files, every row a record under the name of its sheet. Runs in the child process of parse.py."""

from collections.abc import Iterator
from datetime import datetime, time
from itertools import chain, takewhile
from typing import Any

from openpyxl import load_workbook

from retrieval.office import opened
from retrieval.records import limited, rows_as_records
from retrieval.text import Text, clean, joined


def read_xlsx(raw: bytes) -> Text:
    """Return every sheet under its name, and every row of it as a record with the names of its columns. Raises Unreadable."""
    with opened(raw, "xl/workbook.xml", "Excel") as file:
        book = load_workbook(file, read_only=True, data_only=True, keep_links=False)
        sheets = (_sheet(sheet) for sheet in book.worksheets if sheet.sheet_state == "visible")
        records = list(limited(clean(part) for part in chain.from_iterable(sheets)))
    text, breaks = joined(records)
    return Text(text, breaks, markdown=True)


def _sheet(sheet: Any) -> Iterator[str]:
    """Yield the records of a sheet, its name before the first; lines above the table, which have one cell, stand there too."""
    sheet.reset_dimensions()  # what the file says of its size may be wrong
    rows = (row for row in map(_cells, sheet.iter_rows(values_only=True)) if any(row))
    head = [f"# {sheet.title}"]
    columns: list[str] = []
    for row in rows:
        if sum(map(bool, row)) > 1:
            columns = row
            break
        head += ["".join(row)]
    records = rows_as_records(chain([columns], rows))
    first = next(records, " | ".join(filter(None, columns)))
    if len(head) > 1 or first:
        yield "\n\n".join(filter(None, [*head, first]))
    yield from records


def _cells(row: tuple[Any, ...]) -> list[str]:
    """Return the cells as text, without the empty ones at the end."""
    last = len(row) - sum(1 for _ in takewhile(lambda cell: cell is None, reversed(row)))
    return [_cell(value) for value in row[:last]]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return str(value.date() if value.time() == time() else value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else " ".join(str(value).split())
