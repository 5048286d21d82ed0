"""Files read in bounded memory: lines no longer than a limit, the elements of a JSON array one by one, .gz opened on the way."""

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from chains.errors import UsageError

LINE_LIMIT = 10 * 2**20
CHUNK = 2**18
FREE, MOST_TIMES = 16 * 2**20, 400
"""What is packed may unpack to FREE bytes, and beyond that to MOST_TIMES its size: ten times is usual, a hundred where rows share a long text."""
_MARK = re.compile(rb'["\[\]{},]')
_STRING = re.compile(rb'(?:[^"\\]+|\\.)*', re.DOTALL)


def refuse_swollen(path: Path, unpacked: int, packed: int, times: int = MOST_TIMES) -> None:
    """Raise UsageError where `packed` bytes of a file have become so many that it is no data but a bomb."""
    if unpacked > FREE and unpacked > times * packed:
        raise UsageError(
            f"{path} unpacks to more than {times:,} times its size, {unpacked // 2**20} MB so far; is it data? Unpack it and look"
        )


class Source:
    """An open file; `done` of `size` says how far it has been read, in bytes of the file itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.size = path.stat().st_size
            self._raw: BinaryIO = path.open("rb")
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}; give the path of an existing file") from error
        self._packed = path.suffix == ".gz"
        self.file = cast(BinaryIO, gzip.GzipFile(fileobj=self._raw)) if self._packed else self._raw
        self.bom = False
        self._unpacked = 0

    @property
    def done(self) -> int:
        """How many bytes of the file have been read."""
        return self._raw.tell()

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, unpacked."""
        with self._sentences():
            found = self.file.read(size)
        self._count(len(found))
        return found

    def lines(self, limit: int = LINE_LIMIT) -> Iterator[tuple[int, bytes | None]]:
        """Yield (line number, bytes with their line end); None for a line longer than `limit`. A byte order mark is taken off."""
        number = 0
        with self._sentences():
            while raw := self.file.readline(limit + 1):
                number += 1
                self._count(len(raw))
                if number == 1 and raw.startswith(b"\xef\xbb\xbf"):
                    self.bom, raw = True, raw[3:]
                if len(raw) <= limit:
                    yield number, raw
                    continue
                while raw and not raw.endswith(b"\n"):
                    raw = self.file.readline(CHUNK)
                    self._count(len(raw))
                yield number, None

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def _count(self, size: int) -> None:
        self._unpacked += size
        if self._unpacked > FREE and self._packed:
            refuse_swollen(self.path, self._unpacked, self.done)

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """Turn what goes wrong in reading into one sentence."""
        try:
            yield
        except (OSError, EOFError, zlib.error) as error:
            what = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"cannot read {self.path}: {what}; get or make the file again") from error

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def elements(source: Source, limit: int = LINE_LIMIT) -> Iterator[tuple[int, bytes | None]]:
    """Yield (line number, bytes) of each element of the JSON array in `source`; None for one longer than `limit`.

    What stands after the array, or an end that is missing, is yielded as one more element, which no parser will take.
    """
    scan = _Scan(limit)
    while chunk := source.read(CHUNK):
        if not scan.begun and chunk.startswith(b"\xef\xbb\xbf"):
            source.bom, chunk = True, chunk[3:]
        yield from scan.feed(chunk)
    yield from scan.end()


class _Scan:
    """Where a reader stands in a JSON array: how deep, inside a string or not, and what it holds of the element under way."""

    def __init__(self, limit: int) -> None:
        self.begun = False
        self._limit, self._depth, self._quoted, self._escaped, self._closed = limit, 0, False, False, False
        self._held: list[bytes] = []
        self._size, self._line, self._count = 0, 1, 0

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes | None]]:
        """Yield the elements that end in `chunk`."""
        start = at = 0
        if not self.begun:
            at = start = chunk.find(b"[") + 1
            self._line += chunk.count(b"\n", 0, start)
            self.begun = True
        while not self._closed and at < len(chunk):
            if self._quoted:
                at = self._through_string(chunk, at)
                continue
            mark = _MARK.search(chunk, at)
            if mark is None:
                break
            at, sign = mark.end(), mark.group()
            if sign == b'"':
                self._quoted = True
            elif sign in b"[{":
                self._depth += 1
            elif sign in b"]}" and self._depth:
                self._depth -= 1
            elif sign == b"]" or (sign == b"," and not self._depth):
                self._closed = sign == b"]"
                self._keep(chunk[start : mark.start()])
                start = at
                yield from self._element()
        self._keep(chunk[start:])

    def end(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield what is left at the end of the file."""
        rest = b"".join(self._held).strip()
        if self._closed and rest:
            yield self._line, rest[:80]
        elif not self._closed:
            if rest:
                yield from self._element()
            yield self._line, b""  # the closing bracket is missing

    def _through_string(self, chunk: bytes, at: int) -> int:
        """Return the place after the open string, or the chunk's end."""
        if self._escaped:
            self._escaped = False
            return at + 1
        found = _STRING.match(chunk, at)
        end = found.end() if found else at
        if end < len(chunk):
            self._quoted = chunk[end] != 34
            self._escaped = chunk[end] == 92
        return end + 1

    def _keep(self, piece: bytes) -> None:
        if self._size <= self._limit:
            self._held.append(piece)
        else:
            self._line += piece.count(b"\n")
        self._size += len(piece)

    def _element(self) -> Iterator[tuple[int, bytes | None]]:
        raw, size = b"".join(self._held), self._size
        self._held, self._size = [], 0
        self._count += 1
        inner = raw.strip()
        blank = len(raw) - len(raw.lstrip())
        line, self._line = self._line + raw.count(b"\n", 0, blank), self._line + raw.count(b"\n")
        if inner or not self._closed or self._count > 1:
            yield line, None if size > self._limit else inner
