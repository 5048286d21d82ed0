"""Tables read row by row: CSV and TSV (quoted or not, found by looking), the first sheet of an XLSX, and Parquet.

CSV cells are text, "" where they are empty. Parquet and XLSX keep numbers, dates become text; a cell of a nested Parquet column is its value.
"""

import csv
import datetime
import decimal
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from tuning.data.findings import Row
from tuning.data.lines import LINE_LIMIT, MOST_TIMES, Source, refuse_swollen

SAMPLE = 2**22
MOST_UNPACKED = 200 * 2**20
LITTLE, MOST_PACKED = 20 * 2**20, 100
"""A packed sheet may be MOST_PACKED times its size where it is more than LITTLE; Excel's own are about ten times."""
MOST_SHARED = 10_000
"""How many times its size a Parquet file's rows may be: a text that all rows share stands in it once."""
NESTED = ("messages", "conversations", "prompt", "completion", "completions", "labels", "chosen", "rejected", "input", "outputs",
          "preferred_output", "non_preferred_output", "tools", "functions", "history", "reference", "item")  # fmt: skip
"""The columns whose cells may hold JSON."""


def delimited(source: Source, kind: str, columns: Sequence[str], limit: int) -> Iterator[tuple[int, Row]]:
    """Yield (the line a row begins in, cells by column) of a CSV or TSV file; `columns` names them where the file has no header.

    Raises UsageError where a row has more cells than the header, or the file is not UTF-8 or not well quoted.
    """
    path, separator = source.path, "\t" if kind == "tsv" else ","
    csv.field_size_limit(limit)
    text = _Text(source, limit)
    quoting = _quoting(path, separator)
    reader = csv.reader(text, delimiter=separator, strict=True, quoting=quoting)  # type: ignore[arg-type]
    header = list(columns)
    end = 0
    try:
        for cells in reader:
            line, end = end + 1, reader.line_num
            if not cells:
                continue
            if not header:
                header = _header(path, cells)
                continue
            if any(cells[len(header) :]):
                raise UsageError(
                    f"{path}:{line}: the row has more cells than the header; put a cell that holds {separator!r} in double quotes"
                )
            row = dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=False))
            yield line, {name: nested(name, cell) for name, cell in row.items()}
    except csv.Error as error:
        raise UsageError(f"{path}:{end + 1}: the table cannot be read ({error}); save it as CSV again") from error


class _Text:
    """The lines of a source as text, for csv: too long or not UTF-8 is refused by number."""

    def __init__(self, source: Source, limit: int) -> None:
        self._source, self._lines, self._limit = source, source.lines(limit), limit
        self._passed = 0

    def __iter__(self) -> "_Text":
        return self

    def __next__(self) -> str:
        number, raw = next(self._lines)
        if raw is None:
            raise UsageError(f"{self._source.path}:{number}: the line is longer than {self._limit // 2**20} MB; cut it")
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{self._source.path} is not UTF-8 (byte {self._passed + error.start}); save the table as UTF-8 and try again"
            ) from error
        self._passed += len(raw)
        return text[:-2] + "\n" if text.endswith("\r\n") else text


def _header(path: Path, cells: list[str]) -> list[str]:
    while len(cells) > 1 and not cells[-1]:
        cells = cells[:-1]
    twice = sorted({cell for cell in cells if cells.count(cell) > 1})
    if twice:
        raise UsageError(f"{path}: two columns are called {twice[0]!r}; give each a name of its own")
    return cells


def _quoting(path: Path, separator: str) -> int:
    """Return how csv is to read quotes: CSV has them; in a TSV they may be plain text, which a look at its beginning tells."""
    if separator == ",":
        return csv.QUOTE_MINIMAL
    with Source(path) as source:
        sample = source.read(SAMPLE).decode(errors="replace").split("\n")
    lines = [line.rstrip("\r") for line in (sample[:-1] if len(sample) > 1 else sample)]
    width = lines[0].count("\t") if lines else 0
    if any(line.count("\t") != width for line in lines if line):  # perhaps a tab or a line end inside quotes
        return csv.QUOTE_MINIMAL if _quotes_fit(lines, width) else csv.QUOTE_NONE
    begun = [cell for line in lines for cell in line.split("\t") if cell.startswith('"')]
    whole = all(len(cell) > 1 and cell.endswith('"') and '"' not in cell[1:-1].replace('""', "") for cell in begun)
    return csv.QUOTE_MINIMAL if whole else csv.QUOTE_NONE


def _quotes_fit(lines: list[str], width: int) -> bool:
    """True where every row of a TSV has `width` tabs when its quotes are taken as quotes; the sample's last rows may be cut."""
    reader = csv.reader((line + "\n" for line in lines), delimiter="\t", strict=True)
    try:
        return all(len(cells) == width + 1 for cells in reader if cells and reader.line_num < len(lines))
    except csv.Error as error:
        return "unexpected end" in str(error)


def nested(name: str, cell: str) -> Any:
    """Return the value of a cell: JSON in the columns that may hold it, else the text itself."""
    if name in NESTED and cell[:1] in ("[", "{") and cell[-1:] in ("]", "}"):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell
    return cell


def xlsx(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """Yield (row number, cells by column) of the first sheet. Raises UsageError where the file cannot be read or unpacks to too much."""
    refuse_bomb(path)
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        rows = enumerate(book.worksheets[0].iter_rows(values_only=True), 1)
        header = list(columns)
        for number, cells in rows:
            if all(cell is None for cell in cells):
                continue
            values = ["" if cell is None else _plain(cell) for cell in cells]
            if not header:
                header = _header(path, [str(value) for value in values])
                continue
            if any(value != "" for value in values[len(header) :]):
                raise UsageError(f"{path}:{number}: the row has more cells than the header; name every column")
            row = dict(zip(header, values + [""] * (len(header) - len(values)), strict=False))
            yield number, {n: nested(n, v) if isinstance(v, str) else v for n, v in row.items()}
    except UsageError:
        raise
    except Exception as error:  # the library raises what its XML reader, zip reader and own checks raise
        raise UsageError(f"{path} cannot be read as XLSX ({_first_line(error)}); save it again") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


def refuse_bomb(path: Path) -> None:
    """Raise UsageError where the packed file is none, or would unpack to more than MOST_UNPACKED bytes."""
    try:
        with zipfile.ZipFile(path) as packed:
            total = sum(item.file_size for item in packed.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UsageError(f"{path} cannot be read as XLSX ({_first_line(error)}); save it again") from error
    if total > MOST_UNPACKED or (total > LITTLE and total > MOST_PACKED * path.stat().st_size):
        raise UsageError(f"{path} unpacks to {total // 2**20} MB; save the sheet as CSV, which is read piece by piece")


_SAY_COLUMNS = """
import json, sys
import pyarrow.parquet as pq
about = pq.ParquetFile(sys.argv[1]).metadata
columns = [about.row_group(g).column(c) for g in range(about.num_row_groups) for c in range(about.num_columns)]
print(json.dumps([(c.path_in_schema, c.total_uncompressed_size, c.total_compressed_size) for c in columns]))
"""


def parquet(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield (row number, cells by column) of a Parquet file; a key that is null is left out. Raises UsageError where it cannot be read."""
    try:
        for number, row in enumerate(_parquet_rows(path), 1):
            yield number, {n: _cell(n, v) for n, v in row.items() if v is not None}
    except UsageError:
        raise
    except Exception as error:  # Arrow's errors are of many kinds, OSError and ValueError among them
        raise UsageError(f"{path} cannot be read as Parquet ({_first_line(error)}); write it again") from error


def _parquet_rows(path: Path) -> Iterator[Row]:
    """Yield the rows as Arrow gives them. A text that many rows share stays one until its row comes, so that it fills no memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    size, unpacked = path.stat().st_size, 0
    with pq.ParquetFile(path, memory_map=True) as file:
        _refuse_packed(path, file.metadata)
        texts = [f.name for f in file.schema_arrow if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    with pq.ParquetFile(path, memory_map=True, read_dictionary=texts) as file:
        for batch in file.iter_batches(batch_size=256):
            longest = max((_longest(column) for column in batch.columns), default=0)
            step = max(1, min(256, 2**24 // max(longest, 1)))
            for start in range(0, batch.num_rows, step):
                for row in batch.slice(start, step).to_pylist():
                    unpacked += sum(len(value) for value in row.values() if isinstance(value, str))
                    refuse_swollen(path, unpacked, size, MOST_SHARED)
                    yield row


def _longest(column: Any) -> int:
    """Return the bytes of the longest text of a column that is kept by its different texts; of any other its bytes a row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        return int(pc.max(pc.binary_length(column.dictionary)).as_py() or 0)
    return int(column.nbytes // max(1, len(column)))


def _refuse_packed(path: Path, about: Any) -> None:
    """Raise UsageError where a Parquet file says that a column unpacks to a bomb, or its rows to more than a line may have."""
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    if sum(group.total_byte_size for group in groups) > MOST_UNPACKED:
        for name, large, packed in _columns(path):
            if large > MOST_UNPACKED and large > MOST_TIMES * packed:
                raise UsageError(
                    f"{path}: the column {name!r} unpacks to {large // 2**20} MB from {packed // 1024} KB; is it data?"
                )
    for group in groups:
        if group.total_byte_size > LINE_LIMIT * max(1, group.num_rows):
            raise UsageError(
                f"{path}: {group.num_rows} rows unpack to {group.total_byte_size // 2**20} MB; is it data?"
            )


def _columns(path: Path) -> list[tuple[str, int, int]]:
    """Return name, unpacked and packed bytes of each column of each group of rows.

    From a process of its own: Arrow ends the process that asks where what a damaged file says of a column cannot be read.
    """
    done = subprocess.run([sys.executable, "-c", _SAY_COLUMNS, str(path)], capture_output=True, text=True)
    if done.returncode:
        raise UsageError(f"{path} cannot be read as Parquet (what it says of its columns is damaged); write it again")
    return [(name, large, max(1, packed)) for name, large, packed in json.loads(done.stdout)]


def _cell(name: str, value: Any) -> Any:
    return nested(name, value) if isinstance(value, str) else _plain(value)


def _plain(value: Any) -> Any:
    """Return a cell as JSON has it: times and decimals as text, nothing where a nested key is null."""
    match value:
        case dict():
            return {str(key): _plain(inner) for key, inner in value.items() if inner is not None}
        case list():
            return [_plain(inner) for inner in value]
        case datetime.date() | datetime.time() | datetime.timedelta() | decimal.Decimal():
            return str(value)
        case bytes():
            return value.decode(errors="replace")
        case _:
            return value
