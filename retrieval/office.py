"""The files of Word, PowerPoint and Excel are zip archives of XML: what one unpacks to is checked before any of it is.

What reads them is given no XML with entities, which can be made to grow without end.
"""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from xml.parsers.expat import ExpatError

import defusedxml
from defusedxml.common import DefusedXmlException

from retrieval.text import Unreadable

UNPACKED_BYTES = 200 * 2**20
RATIO = 100  # unpacked to packed; an ordinary document has 5 to 30
SMALL = 2**20  # bytes that any archive may unpack to, whatever the ratio
ENTRIES = 10_000


@contextmanager
def opened(raw: bytes, part: str, program: str) -> Iterator[io.BytesIO]:
    """Yield the file for its reader. Raises Unreadable where the bytes are no such file, unpack to very much, or are damaged."""
    _check(raw, part, program)
    try:
        yield io.BytesIO(raw)
    except DefusedXmlException as error:
        raise Unreadable(f"holds XML entities, which no {program} file needs; save it anew in {program}") from error
    except (zipfile.BadZipFile, ExpatError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise Unreadable(
            f"is a damaged {program} file: {str(error).partition(chr(10))[0] or type(error).__name__}"
        ) from error


def _check(raw: bytes, part: str, program: str) -> None:
    """Raise Unreadable where the bytes are no such file, or unpack to very much."""
    if raw.startswith(b"\xd0\xcf\x11\xe0"):
        raise Unreadable(f"is protected by a password or of {program}'s old format; save a copy without one, or anew")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise Unreadable(f"is not a {program} file, whatever its name says") from error
    if part not in {entry.filename for entry in entries}:
        raise Unreadable(f"is not a {program} file, whatever its name says")
    size = sum(entry.file_size for entry in entries)
    if len(entries) > ENTRIES or size > min(UNPACKED_BYTES, max(SMALL, RATIO * len(raw))):
        raise Unreadable(
            f"unpacks to {size / 2**20:.0f} MiB in {len(entries)} parts, too much for a file of its size; split it"
        )


defusedxml.defuse_stdlib()  # what the readers above use of it refuses entities
