"""What a file is made of, whatever its rows mean: JSONL, a JSON array, CSV, TSV, XLSX, Parquet or plain text, each also as .gz where that is usual.

Every reader yields records in bounded memory; a row that cannot be read is a record with its problems and no row.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chains.errors import UsageError
from tuning.data import tables
from tuning.data.findings import Row
from tuning.data.lines import LINE_LIMIT, Source, elements
from tuning.data.parse import Problem, parse

SUFFIXES = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".xlsx": "xlsx",
    ".parquet": "parquet", ".txt": "text", ".md": "text",
}  # fmt: skip
_OTHER = {
    b"%PDF": "a PDF document", b"PK\x03\x04": "a packed document", b"<html": "an HTML page", b"<!doc": "an HTML page",
    b"<?xml": "an XML document",
}  # fmt: skip


@dataclass(slots=True)
class Record:
    """One row of a file and where it is; `row` is None where it cannot be read, and `problems` say why."""

    line: int
    row: Row | None
    problems: list[Problem] = field(default_factory=list)
    crlf: bool = False
    size: int = 0
    raw: bytes = b""
    """The bytes of a line of JSONL."""


@dataclass(frozen=True)
class Options:
    """How a table is to be read: the names of a header that it lacks."""

    columns: tuple[str, ...] = ()


def container_of(path: Path) -> str:
    """Return `jsonl`, `json`, `csv`, `tsv`, `xlsx`, `parquet` or `text` by the file's name, and its first bytes where the name says .json.

    Raises UsageError for a file that holds no rows, such as a PDF.
    """
    name = path.name.lower().removesuffix(".gz")
    container = SUFFIXES.get(Path(name).suffix)
    with Source(path) as source:
        head = source.read(4096)
    found = _other(head, container)
    if found:
        raise UsageError(
            f"{path} is {found} and holds no training rows; make some from it: chaintune data from-docs, or index it"
        )
    if container in ("json", None) and not _is_binary(head):
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        container = "json" if start == b"[" else _of_object(head) if start == b"{" else container
    if container is None or (container != "parquet" and container != "xlsx" and _is_binary(head)):
        raise UsageError(f"{path} is of no kind that is known; give {', '.join(sorted(SUFFIXES))} or the same with .gz")
    if container in ("xlsx", "parquet") and name != path.name.lower():
        raise UsageError(f"{path} is packed twice; unpack it first: gunzip {path}")
    return container


def _other(head: bytes, container: str | None) -> str | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:5].lower()
    for sign, name in _OTHER.items():
        if start.startswith(sign.lower()) and not (container == "xlsx" and sign.startswith(b"PK")):
            return name
    if container not in ("text",) and start[:1] == b"<" and container is None:
        return "an XML or HTML document"
    return None


def _of_object(head: bytes) -> str:
    """Return `jsonl` where the first line is an object of its own, `object` where one object takes many lines."""
    first, end, _ = head.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")
    return (
        "object"
        if (end and first.strip() in (b"{", b"{}")) or (end and first.rstrip().endswith((b",", b"[", b"{")))
        else "jsonl"
    )


def _is_binary(head: bytes) -> bool:
    return head.count(0) > len(head) // 100 and head[:2] not in (b"\xff\xfe", b"\xfe\xff")


class Rows:
    """The records of a file, read once from its beginning; `done` of `size` says how far, `bom` what was seen."""

    def __init__(self, path: str | Path, options: Options = Options(), limit: int = LINE_LIMIT) -> None:
        self.path = Path(path)
        self.options, self.limit = options, limit
        self.container = container_of(self.path)
        self.size = self.path.stat().st_size
        self._place: Callable[[], int] = lambda: 0
        self.bom = False

    @property
    def done(self) -> int:
        """How many bytes of the file are behind the reader."""
        return self._place()

    def __iter__(self) -> Iterator[Record]:
        readers: dict[str, Callable[[], Iterator[Record]]] = {
            "jsonl": self._jsonl, "json": self._json, "text": self._text,
            "object": self._object, "csv": self._delimited, "tsv": self._delimited, "xlsx": self._xlsx, "parquet": self._parquet,
        }  # fmt: skip
        return readers[self.container]()

    def _jsonl(self) -> Iterator[Record]:
        with Source(self.path) as source:
            self._place = lambda: source.done
            for line, raw in source.lines(self.limit):
                self.bom = source.bom
                if raw is None:
                    yield self._too_long(line)
                elif raw.strip():
                    yield _record(line, raw)

    def _json(self) -> Iterator[Record]:
        with Source(self.path) as source:
            self._place = lambda: source.done
            for line, raw in elements(source, self.limit):
                self.bom = source.bom
                yield self._too_long(line) if raw is None else _record(line, raw)

    def _object(self) -> Iterator[Record]:
        with Source(self.path) as source:
            self._place = lambda: source.done
            raw = source.read(self.limit + 1)
            yield self._too_long(1) if len(raw) > self.limit else _record(1, raw.removeprefix(b"\xef\xbb\xbf"))

    def _text(self) -> Iterator[Record]:
        with Source(self.path) as source:
            self._place = lambda: source.done
            for line, raw, crlf in paragraphs(source, self.limit):
                self.bom = source.bom
                if raw is None:
                    yield self._too_long(line)
                    continue
                try:
                    yield Record(line, {"text": raw.decode()}, crlf=crlf, size=len(raw))
                except UnicodeDecodeError:
                    yield Record(line, None, [("not-utf8", "", {})])

    def _delimited(self) -> Iterator[Record]:
        with Source(self.path) as source:
            self._place = lambda: source.done
            yield from self._cells(tables.delimited(source, self.container, self.options.columns, self.limit))
            self.bom = source.bom

    def _xlsx(self) -> Iterator[Record]:
        yield from self._cells(tables.xlsx(self.path, self.options.columns))

    def _parquet(self) -> Iterator[Record]:
        yield from self._cells(tables.parquet(self.path))

    def _cells(self, rows: Iterator[tuple[int, Row]]) -> Iterator[Record]:
        for line, row in rows:
            yield Record(line, row, size=sum(len(str(value)) for value in row.values()))

    def _too_long(self, line: int) -> Record:
        return Record(line, None, [("too-long-line", "", {"megabytes": self.limit // 2**20})])


def _record(line: int, raw: bytes) -> Record:
    row, problems = parse(raw)
    return Record(line, row, problems, raw.endswith(b"\r\n"), len(raw), raw)


def paragraphs(source: Source, limit: int) -> Iterator[tuple[int, bytes | None, bool]]:
    """Yield (line number, text, whether it had CR LF) of the blocks between empty lines; None for one longer than `limit`.

    Joined with an empty line the blocks are the file again, character for character, but for CR LF, which becomes LF.
    """
    held: list[bytes] = []
    first, size, full, blank, crlf = 1, 0, False, False, False
    for number, raw in source.lines(limit):
        line = b"" if raw is None else raw
        size += limit + 1 if raw is None else 0
        if line.endswith(b"\r\n"):
            line, crlf = line[:-2] + b"\n", True
        if line.strip(b"\n") and full and blank:
            yield first, None if size > limit else b"".join(held)[:-2], crlf
            held, size, first, full, crlf = [], 0, number, False, False
        size += len(line)
        full = full or bool(line.strip(b"\n")) or raw is None
        blank = line == b"\n"
        if size <= limit:
            held.append(line)
    if size:
        yield first, None if size > limit else b"".join(held), crlf
