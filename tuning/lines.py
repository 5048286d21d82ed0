"""JSONL files of any size, line by line: read with their places, and written all or nothing. A row that is only moved keeps its bytes."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from chains.errors import UsageError
from chains.home import machine_error

Row = dict[str, Any]
BOM = b"\xef\xbb\xbf"
Advance = Callable[[int, int], None]
"""Called with how many bytes are behind and how many there are."""
MOST_BYTES = 64 * 2**20
"""The longest line that is read."""


@dataclass(frozen=True)
class Line:
    """One row's bytes without the line break, and where it stands; lines count from 1, offsets from 0."""

    path: Path
    number: int
    offset: int
    raw: bytes

    def row(self) -> Row:
        """Return the row. Raises UsageError, naming file and line, where it is no JSON object."""
        try:
            row = orjson.loads(self.raw)
        except orjson.JSONDecodeError as error:
            raise UsageError(
                f"{self.path}:{self.number}: the line is not JSON ({error.msg}); write one JSON object a line"
            ) from error
        if not isinstance(row, dict):
            raise UsageError(f"{self.path}:{self.number}: the line is JSON but no object; write one JSON object a line")
        return row


class Meter:
    """Tells `advance` how far a work has come in the bytes of its files, which are read `times` over: two hundred times at most."""

    def __init__(self, advance: Advance | None, files: Sequence[str | Path], times: int = 1) -> None:
        self._advance = advance
        self._total = times * sum(Path(file).stat().st_size for file in files if Path(file).is_file())
        self._done = self._told = 0

    def add(self, size: int) -> None:
        """Count `size` bytes more."""
        self._done = min(self._done + size, self._total)
        step = self._total if self._done == self._total else (self._done - self._told) * 200
        if self._advance and step >= self._total and self._told < self._done:
            self._told = self._done
            self._advance(self._done, self._total)


def lines(path: str | Path, meter: Meter | None = None) -> Iterator[Line]:
    """Yield the lines of a JSONL file that are not empty. Raises UsageError where it cannot be read or a line is over 64 MiB."""
    file_path = Path(path)
    try:
        with file_path.open("rb") as file:
            number = offset = 0
            while raw := file.readline(MOST_BYTES + 1):
                number += 1
                if len(raw) > MOST_BYTES:
                    raise UsageError(
                        f"{path}:{number}: the line is longer than 64 MiB; is it JSONL, one object a line?"
                    )
                skipped = len(BOM) if offset == 0 and raw.startswith(BOM) else 0
                text = raw[skipped:].rstrip(b"\r\n")
                if text.strip():
                    yield Line(file_path, number, offset + skipped, text)
                offset += len(raw)
                if meter:
                    meter.add(len(raw))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give the path of an existing JSONL file") from error


@contextmanager
def writing(targets: Sequence[Path], sources: Sequence[Path] = ()) -> Iterator[list[IO[bytes]]]:
    """Yield a file for each of `targets`; they appear under their names when the block ends well, and not at all otherwise.

    Raises UsageError where two targets are one file, or a target is one of `sources`; MachineError where it cannot be written.
    """
    names = [target.resolve() for target in targets]
    for target, name in zip(targets, names, strict=True):
        if names.count(name) > 1 or name in {source.resolve() for source in sources}:
            raise UsageError(f"{target} would be read and written at once; give another name to write to")
    temporary = [target.with_name(f".{target.name}.{os.getpid()}.tmp") for target in targets]
    try:
        with ExitStack() as stack:
            files: list[IO[bytes]] = []
            for target, path in zip(targets, temporary, strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                files.append(stack.enter_context(path.open("wb")))
            yield files
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        for path, target in zip(temporary, targets, strict=True):
            os.replace(path, target)
    except OSError as error:
        raise machine_error(error, targets[0]) from error
    finally:
        for path in temporary:
            path.unlink(missing_ok=True)


def digest(row: Row) -> bytes:
    """Return 16 bytes that are equal for equal rows, however their keys are ordered."""
    return digest_of(canonical(row))


def digest_of(raw: bytes) -> bytes:
    """Return 16 bytes that are equal for equal bytes alone."""
    return hashlib.blake2b(raw, digest_size=16).digest()


def canonical(value: Any) -> bytes:
    """Return the JSON of `value` with sorted keys."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def prompt(line: Line, by: str | None = None) -> bytes:
    """Return bytes that are equal for rows with the same prompt (spaces make no difference), or with the same field `by`.

    A row of no known format is a prompt of its own. Raises UsageError where the field is missing.
    """
    row = line.row()
    if by is not None:
        if by not in row:
            raise UsageError(f"{line.path}:{line.number}: no field {by!r}; have {', '.join(map(repr, row))}")
        return canonical(row[by])
    return canonical(_spaced(_prompt(row)))


def _prompt(row: Row) -> Any:
    inner = row["input"] if isinstance(row.get("input"), dict) else row
    for name, role, answer in (("messages", "role", "assistant"), ("conversations", "from", "gpt")):
        said = inner.get(name)
        if isinstance(said, list) and said:
            last = said[-1]
            return said[:-1] if isinstance(last, dict) and last.get(role) == answer else said
    if row.get("instruction") is not None:
        return [row["instruction"], row.get("input") or ""]
    return row["prompt"] if row.get("prompt") else row


def _spaced(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, list):
        return [_spaced(item) for item in value]
    return {key: _spaced(item) for key, item in value.items()} if isinstance(value, dict) else value


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a row, without its keys and roles."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in ("role", "from"):
                yield from texts(item)
