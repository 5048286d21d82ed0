"""The hash of a document's content, by which a sync knows what has changed."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_READING = b"2"  # goes up when the loaders or the splitter change, so that every file counts as changed
_PART = 2**20  # bytes of a file that are read at a time


def of_file(path: Path) -> str:
    """Return the hash of the file's content. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        return of_parts(_parts(file))


def of_parts(parts: Iterable[bytes]) -> str:
    """Return the hash of the parts, one after another."""
    digest = hashlib.sha256(_READING)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _parts(file: Any) -> Iterator[bytes]:
    """Yield what is in the file; a part that is short is the last."""
    part = b" " * _PART
    while len(part) == _PART:
        yield (part := file.read(_PART))
