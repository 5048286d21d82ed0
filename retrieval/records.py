"""Tables and JSON as records: every row, or item, is a passage of "name: value" lines. Runs in the child process of parse.py."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from retrieval.encodings import decode
from retrieval.text import MAX_CHARACTERS, Text, Unreadable, clean, joined

MAX_DEPTH = 64  # of lists and objects in one another
_SOME = 64 * 2**10  # characters that say which the delimiter is


def read_csv(raw: bytes) -> Text:
    """Return a record for every row, with the columns of the first row. Raises Unreadable."""
    content = clean(decode(raw))
    return _table(content, max(",;\t|", key=content.lstrip()[:_SOME].partition("\n")[0].count))


def read_tsv(raw: bytes) -> Text:
    """Return a record for every row of a table whose columns stand between tabs. Raises Unreadable."""
    return _table(clean(decode(raw)), "\t")


def _table(content: str, delimiter: str) -> Text:
    reader = csv.reader(io.StringIO(content), delimiter=delimiter, strict=True)
    try:
        records = list(limited(rows_as_records(row for row in reader if any(map(str.strip, row)))))
    except csv.Error as error:
        raise Unreadable(f"is no CSV table: {error}") from error
    if not records:
        raise Unreadable("has no row below its first, which names the columns")
    return Text(*joined(records))


def rows_as_records(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a record for every row below the first, which names the columns."""
    several = iter(rows)
    columns = [" ".join(name.split()) for name in next(several, ())]
    for row in several:
        names = columns + [f"column {n}" for n in range(len(columns) + 1, len(row) + 1)]
        cells = ((name, " ".join(value.split())) for name, value in zip(names, row, strict=False))
        yield "\n".join(f"{name}: {value}" if name else value for name, value in cells if value)


def read_json(raw: bytes) -> Text:
    """Return a record for every item of the list in the file, or for every member of its object. Raises Unreadable."""
    return Text(*joined(list(limited(_records(_parsed(clean(decode(raw)), "is no JSON"))))))


def read_jsonl(raw: bytes) -> Text:
    """Return a record for every line. Raises Unreadable, naming the line that is no JSON."""
    lines = ((n, line) for n, line in enumerate(clean(decode(raw)).split("\n"), 1) if line.strip())
    records = ("\n".join(_lines("", _parsed(line, f"has no JSON in line {n}"), 0)) for n, line in lines)
    return Text(*joined(list(limited(records))))


def limited(parts: Iterable[str]) -> Iterator[str]:
    """Yield the parts that hold anything. Raises Unreadable as soon as they are too long together."""
    length = 0
    for part in parts:
        length += len(part) + 2
        if length > MAX_CHARACTERS:
            raise Unreadable(f"has more than {MAX_CHARACTERS:,} characters; split it")
        if part.strip():
            yield part


def _parsed(content: str, otherwise: str) -> Any:
    """Return the value; numbers stay as they are written."""
    try:
        return json.loads(content, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise Unreadable(f"{otherwise}: {error.msg} (line {error.lineno}, column {error.colno})") from error
    except RecursionError as error:
        raise Unreadable(_TOO_DEEP) from error


_TOO_DEEP = f"has lists or objects more than {MAX_DEPTH} deep in one another; save it flatter"


def _records(value: Any) -> Iterator[str]:
    """Yield the items of a list; of an object its members, and of members that are lists of objects their items."""
    for name, part in value.items() if isinstance(value, dict) else [("", value)]:
        items = (
            part if isinstance(part, list) and (not name or any(isinstance(item, dict) for item in part)) else [part]
        )
        for item in items:
            yield "\n".join(_lines(name, item, 1))


def _lines(name: str, value: Any, depth: int) -> Iterator[str]:
    """Yield a line for every value in `value`: the names on the way to it, and itself."""
    if depth > MAX_DEPTH:
        raise Unreadable(_TOO_DEEP)
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _lines(f"{name}.{key}" if name else key, part, depth + 1)
    elif isinstance(value, list):
        for part in value:
            yield from _lines(name, part, depth + 1)
    elif value is not None and value != "":
        said = {True: "true", False: "false"}[value] if isinstance(value, bool) else value
        yield f"{name}: {said}" if name else said
