"""Reads a file into a Text: plain text and Markdown here, everything else in a child process with limits (parse.py).

    load(Path("rules.pdf")).text

A file that cannot be read raises Unreadable, which says why in half a sentence.
"""

import os
from pathlib import Path

from retrieval import parser
from retrieval.encodings import decode
from retrieval.kinds import KINDS, MARKDOWN, NOT_READ, PICTURES, PLAIN
from retrieval.parser import Limits
from retrieval.text import MAX_CHARACTERS, Picture, Text, Unreadable, clean

MAX_BYTES = 50 * 2**20


def check(path: Path) -> os.stat_result:
    """Return what the system knows of the file. Raises Unreadable where its kind or size already says that it cannot be read."""
    if any("\udc80" <= letter <= "\udcff" for letter in str(path)):  # what Python makes of bytes that are none
        raise Unreadable("has a name that is not in UTF-8; rename it")
    kind = path.suffix.lower()
    if kind in NOT_READ:
        raise Unreadable(
            f"is a file of {NOT_READ[kind]}, which is not read; save it as PDF, Word (.docx), Markdown, CSV or plain text"
        )
    if kind not in KINDS and kind not in PICTURES:
        raise Unreadable(f"is of a kind that is not read; the kinds are {', '.join(KINDS)}")
    try:
        with path.open("rb", buffering=0) as file:
            stat = os.fstat(file.fileno())
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror or error}") from error
    if stat.st_size == 0:
        raise Unreadable("is empty")
    if stat.st_size > MAX_BYTES:
        raise Unreadable(
            f"has {stat.st_size / 2**20:.0f} MiB, more than the {MAX_BYTES // 2**20} that are read; split it"
        )
    return stat


def load(path: Path, limits: Limits | None = None) -> Text:
    """Return the text of the file. Raises Unreadable."""
    check(path)
    kind = path.suffix.lower()
    text = _plain(path, kind) if kind in PLAIN else parser.text(path, limits or Limits())
    if not text.text.strip():
        scan = "; if it is a scan, run a text recognition (OCR) over it first" if kind == ".pdf" else ""
        raise Unreadable(f"has no text in it{scan}")
    if len(text.text) > MAX_CHARACTERS:
        raise Unreadable(f"has more than {MAX_CHARACTERS:,} characters; split it")
    return text


def picture(path: Path, edge: int, limits: Limits | None = None) -> Picture:
    """Return the picture in the file, its shorter side `edge` pixels long. Raises Unreadable."""
    check(path)
    if path.suffix.lower() not in PICTURES:
        raise Unreadable(f"is no picture; the kinds are {', '.join(PICTURES)}")
    return parser.picture(path, limits or Limits(), edge)


def _plain(path: Path, kind: str) -> Text:
    return Text(clean(decode(path.read_bytes())), markdown=kind in MARKDOWN)
