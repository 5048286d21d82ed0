"""A table file as the old tool read it: pandas decides what a cell is ("NA" is empty, a JSON null is the text "None"), so pandas reads here too."""

import warnings
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from tuning.prepare.note import Note

EXTENSIONS = ("csv", "tsv", "xlsx", "txt", "json", "jsonl")


@dataclass(frozen=True)
class Table:
    """Cells as texts, row by row; `kind` is the format that has to be converted, None where it is JSONL already."""

    columns: list[Any]
    labels: list[Hashable]
    rows: list[list[str]]
    kind: str | None
    notes: list[Note]


def read(path: Path) -> Table:
    """Return the table in `path`. Raises UsageError where there is none, or its content is not what the extension says."""
    extension = path.suffix[1:].lower()
    if not path.is_file():
        raise UsageError(f"no file {str(path)!r}; give the path of a table of prompts and completions")
    if extension not in EXTENSIONS:
        raise UsageError(f"{path}: the extension {path.suffix!r} is unknown; use one of {', '.join(EXTENSIONS)}")
    try:
        with _as_pandas_1():
            return _READERS[extension](path)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"{path}: the file is not valid {extension.upper()} ({said}); save it as {extension.upper()} again"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}; give a file that can be read") from error
    except Exception as error:  # a broken workbook fails in zipfile, in the XML parser, or in openpyxl
        if extension != "xlsx":
            raise
        raise UsageError(f"{path}: the workbook cannot be opened ({error}); save it as XLSX again") from error


@contextmanager
def _as_pandas_1() -> Iterator[None]:
    """Within, texts are Python's own, so that None and NaN stay different: pandas 3 makes both NaN."""
    import pandas

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pandas.option_context("future.infer_string", False):
            yield


def _table(frame: Any, kind: str | None, *notes: Note) -> Table:
    cells = frame.astype(object).where(frame.notna(), "")
    return Table(list(frame.columns), list(frame.index), cells.to_numpy().tolist(), kind, list(notes))


def _delimited(path: Path, separator: str) -> Table:
    import pandas

    kind = path.suffix[1:].upper()
    return _table(pandas.read_csv(path, sep=separator, dtype=str), kind, Note("extension", {"format": kind}))


def _xlsx(path: Path) -> Table:
    import pandas

    notes = [Note("extension", {"format": "XLSX"})]
    with pandas.ExcelFile(path) as book:
        if len(book.sheet_names) > 1:
            notes.append(Note("sheets", {"sheet": book.sheet_names[0]}))
        return _table(book.parse(dtype=str), "XLSX", *notes)


def _txt(path: Path) -> Table:
    lines = path.read_text(encoding="utf-8").split("\n")
    rows = [["", line] for line in lines]
    return Table(["prompt", "completion"], list(range(len(rows))), rows, "TXT", [Note("extension", {"format": "TXT"})])


def _jsonl(path: Path) -> Table:
    frame = _frame(path, lines=True)
    if len(frame) != 1:
        return _texts(frame, None)
    return _texts(_frame(path, lines=False), "JSON", Note("other_format", {"format": "JSON", "extension": "JSONL"}))


def _json(path: Path) -> Table:
    try:
        frame = _frame(path, lines=True)
    except ValueError:  # one JSON value over several lines
        return _texts(_frame(path, lines=False), None)
    if len(frame) == 1:
        return _texts(_frame(path, lines=False), None)
    return _texts(frame, "JSON", Note("other_format", {"format": "JSONL", "extension": "JSON"}))


def _frame(path: Path, lines: bool) -> Any:
    import pandas

    return pandas.read_json(path, lines=lines, dtype=object)


def _texts(frame: Any, kind: str | None, *notes: Note) -> Table:
    """Return the table with every value as Python writes it: 1.0 where a column of numbers has gaps, None for null, nan for what is missing."""
    nulls = int(frame.isna().to_numpy().sum())
    lost = [Note("nulls", {"count": nulls})] if nulls else []
    rows = [[str(cell) for cell in row] for row in frame.to_numpy(dtype=object).tolist()]
    return Table(list(frame.columns), list(frame.index), rows, kind, [*notes, *lost])


_READERS = {
    "csv": lambda path: _delimited(path, ","),
    "tsv": lambda path: _delimited(path, "\t"),
    "xlsx": _xlsx,
    "txt": _txt,
    "json": _json,
    "jsonl": _jsonl,
}
