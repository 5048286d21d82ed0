"""Rows into a file, one by one, all or nothing: the container is the one that the file's name says."""

import csv
import gzip
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import orjson

from chains.errors import UsageError
from chains.home import machine_error
from tuning.data.containers import SUFFIXES
from tuning.data.findings import Row

Put = Callable[[Row], None]
MOST_CELL = 32_767
"""Characters that Excel takes in one cell."""


def target_container(path: Path) -> str:
    """Return the container that the name of `path` says. Raises UsageError where it says none."""
    name = path.name.lower()
    container = SUFFIXES.get(Path(name.removesuffix(".gz")).suffix)
    if container is None or (name.endswith(".gz") and container in ("xlsx", "parquet")):
        raise UsageError(f"{path}: the name says no kind of file; end it with {', '.join(sorted(SUFFIXES))}")
    return container


@contextmanager
def writing(path: str | Path, header: Sequence[str] | None = None, container: str | None = None) -> Iterator[Put]:
    """Yield a function that takes rows; when the block ends well they stand in `path`, which was untouched until then.

    `header` names the columns of a table; without it, the keys of the first row do. `container` is the file's kind, by default what its name says.

    Raises UsageError for a row that the kind of file cannot hold, MachineError where the disk cannot.
    """
    path = Path(path)
    container = container or target_container(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as raw:
            packed = gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) if path.name.endswith(".gz") else None
            put, end = _MAKERS[container](cast(IO[bytes], packed or raw), path, list(header or []))
            yield put
            end()
            if packed:
                packed.close()
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise machine_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def _jsonl(file: IO[bytes], path: Path, header: list[str]) -> tuple[Put, Callable[[], None]]:
    return lambda row: _ignore(file.write(orjson.dumps(row) + b"\n")), lambda: None


def _lines(file: IO[bytes], path: Path, header: list[str]) -> tuple[Put, Callable[[], None]]:
    """Lines of JSONL as they came: a row is {"raw": bytes}."""
    return lambda row: _ignore(file.write(row["raw"] + b"\n")), lambda: None


def _json(file: IO[bytes], path: Path, header: list[str]) -> tuple[Put, Callable[[], None]]:
    count = 0

    def put(row: Row) -> None:
        nonlocal count
        file.write((b",\n" if count else b"[\n") + orjson.dumps(row))
        count += 1

    return put, lambda: _ignore(file.write(b"\n]\n" if count else b"[]\n"))


def _text(file: IO[bytes], path: Path, header: list[str]) -> tuple[Put, Callable[[], None]]:
    count = 0

    def put(row: Row) -> None:
        nonlocal count
        if list(row) != ["text"] or not isinstance(row["text"], str):
            raise UsageError(f"{path}: plain text holds texts alone; add --to text, or choose another ending")
        file.write((b"\n\n" if count else b"") + row["text"].encode())
        count += 1

    return put, lambda: None


def _delimited(separator: str) -> Callable[[IO[bytes], Path, list[str]], tuple[Put, Callable[[], None]]]:
    def make(file: IO[bytes], path: Path, header: list[str]) -> tuple[Put, Callable[[], None]]:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text, delimiter=separator, lineterminator="\n")
        begun = False

        def put(row: Row) -> None:
            nonlocal begun
            if not begun:
                header.extend([] if header else row)
                writer.writerow(header)
                begun = True
            writer.writerow([text_cell(row, name) for name in _known(header, row, path)])

        def end() -> None:
            text.flush()
            text.detach()

        return put, end

    return make


def _xlsx(file: IO[bytes], path: Path, header: list[str]) -> tuple[Put, Callable[[], None]]:
    import openpyxl
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.utils.exceptions import IllegalCharacterError

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("rows")
    begun = False

    def cell(value: str) -> Any:
        if len(value) > MOST_CELL:
            raise UsageError(f"{path}: a text of {len(value)} characters fits no Excel cell ({MOST_CELL}); write CSV")
        made = WriteOnlyCell(sheet, value="")
        try:
            made.value = value
        except IllegalCharacterError as error:
            raise UsageError(f"{path}: Excel holds no control characters; remove them, or write CSV") from error
        made.data_type = "s"  # a text that begins with '=' is no formula
        return made

    def put(row: Row) -> None:
        nonlocal begun
        if not begun:
            header.extend([] if header else row)
            sheet.append([cell(name) for name in header])
            begun = True
        sheet.append([cell(text_cell(row, name)) for name in _known(header, row, path)])

    return put, lambda: book.save(file)


def _parquet(file: IO[bytes], path: Path, header: list[str]) -> tuple[Put, Callable[[], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema: Any = None
    writer: Any = None
    held: list[Row] = []

    def flush() -> None:
        nonlocal writer, schema
        if schema is None:
            schema = pa.schema([(name, pa.string()) for name in header or (held[0] if held else {})])
            writer = pq.ParquetWriter(file, schema)
        cells = [{n: text_cell(row, n) if n in row else None for n in _known(schema.names, row, path)} for row in held]
        writer.write_table(pa.Table.from_pylist(cells, schema=schema))
        held.clear()

    def put(row: Row) -> None:
        held.append(row)
        if len(held) >= 1024:
            flush()

    def end() -> None:
        flush()
        writer.close()

    return put, end


def _known(header: list[str], row: Row, path: Path) -> list[str]:
    """Return the header. Raises UsageError where the row has a key that the first row lacks."""
    for name in row:
        if name not in header:
            raise UsageError(
                f"{path}: a row has the key {name!r}, which the first row lacks; write JSONL, where rows may differ"
            )
    return header


def text_cell(row: Row, name: str) -> str:
    """Return what stands in the cell `name`: text as it is, nothing as "", anything else as JSON."""
    value = row.get(name)
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _ignore(value: object) -> None:
    """Return nothing, whatever was written."""


_MAKERS: dict[str, Callable[[IO[bytes], Path, list[str]], tuple[Put, Callable[[], None]]]] = {
    "jsonl": _jsonl, "lines": _lines, "json": _json, "text": _text, "csv": _delimited(","), "tsv": _delimited("\t"), "xlsx": _xlsx,
    "parquet": _parquet,
}  # fmt: skip
