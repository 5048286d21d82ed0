"""Reads a file into a Text: plain text, Markdown, CSV here; PDF and HTML in a child process with limits.

    load(Path("rules.pdf")).text

A file that cannot be read raises Unreadable, which says why in half a sentence.
"""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from retrieval.text import MAX_CHARACTERS, Text, Unreadable, clean, joined

MAX_BYTES = 50 * 2**20
WALL_S = 30
CPU_S = 20  # of the child that reads one PDF or HTML file
MEMORY_BYTES = 2**30  # its address space

NOT_READ = {
    ".doc": "Word",
    ".docx": "Word",
    ".hwp": "Hangul",
    ".hwpx": "Hangul",
    ".ppt": "PowerPoint",
    ".pptx": "PowerPoint",
    ".rtf": "RTF",
    ".odt": "OpenDocument",
    ".xls": "Excel",
    ".xlsx": "Excel",
}
"""Kinds of document that people expect to be read and that are not: a sync lists them as failed instead of passing over them."""


def check(path: Path) -> None:
    """Raise Unreadable where the file's kind or size already says that it cannot be read."""
    if any("\udc80" <= letter <= "\udcff" for letter in str(path)):  # what Python makes of bytes that are none
        raise Unreadable("has a name that is not in UTF-8; rename it")
    kind = path.suffix.lower()
    if kind in NOT_READ:
        raise Unreadable(f"is a {NOT_READ[kind]} file, which is not read; save it as PDF, Markdown, CSV or plain text")
    if kind not in KINDS:
        raise Unreadable(f"is of a kind that is not read; the kinds are {', '.join(KINDS)}")
    try:
        with path.open("rb"):
            size = path.stat().st_size
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror or error}") from error
    if size == 0:
        raise Unreadable("is empty")
    if size > MAX_BYTES:
        raise Unreadable(f"has {size / 2**20:.0f} MiB, more than the {MAX_BYTES // 2**20} that are read; split it")


def load(path: Path) -> Text:
    """Return the text of the file. Raises Unreadable."""
    check(path)
    text = KINDS[path.suffix.lower()](path)
    if not text.text.strip():
        raise Unreadable(
            "has no text in it"
            + ("; if it is a scan, run a text recognition (OCR) over it first" if text.paged else "")
        )
    if len(text.text) > MAX_CHARACTERS:
        raise Unreadable(f"has more than {MAX_CHARACTERS:,} characters; split it")
    return text


def _plain(path: Path) -> Text:
    return Text(clean(decode(path.read_bytes())))


def _markdown(path: Path) -> Text:
    return Text(clean(decode(path.read_bytes())), markdown=True)


def decode(raw: bytes) -> str:
    """Return the text of bytes in UTF-8 (with or without a mark), UTF-16 with a mark, or CP949, the Korean Windows encoding.

    Raises Unreadable where none of them fits; a wrong guess would fill the library with text that looks right and is not.
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    else:
        if b"\x00" in raw[:65536]:
            raise Unreadable("holds binary data, not text")
        encodings = ["utf-8-sig", "cp949"]
    for encoding in encodings:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Unreadable("is neither in UTF-8 nor in CP949; save it in UTF-8")


def _table(path: Path) -> Text:
    """Every row as a record of "column: value" lines, with the columns of the first row."""
    content = clean(decode(path.read_bytes()))
    try:
        rows = [
            row
            for row in csv.reader(io.StringIO(content), delimiter=_delimiter(content, path), strict=True)
            if any(map(str.strip, row))
        ]
    except csv.Error as error:
        raise Unreadable(f"is no CSV table: {error}") from error
    if len(rows) < 2:
        raise Unreadable("has no row below its first, which names the columns")
    text, breaks = joined(list(_records(rows)))
    return Text(text, breaks)


def _delimiter(content: str, path: Path) -> str:
    header = content.lstrip().partition("\n")[0]
    return "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=header.count)


def _records(rows: list[list[str]]) -> Iterator[str]:
    columns = [name.strip() for name in rows[0]]
    for row in rows[1:]:
        names = columns + [f"column {n}" for n in range(len(columns) + 1, len(row) + 1)]
        cells = ((name, " ".join(value.split())) for name, value in zip(names, row, strict=False))
        yield "\n".join(f"{name}: {value}" if name else value for name, value in cells if value)


def _in_child(path: Path) -> Text:
    """Read the file in a process of its own, so that a file made to exhaust a parser ends that process alone."""
    roots = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, roots))}
    command = [sys.executable, "-P", "-m", "retrieval.parse", str(path.absolute()), str(CPU_S), str(MEMORY_BYTES)]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=WALL_S, env=environment, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unreadable(f"took more than {WALL_S} s to read") from error
    if done.returncode < 0:
        raise Unreadable(f"needed more than {CPU_S} s or {MEMORY_BYTES // 2**20} MiB to read")
    try:
        said = json.loads(done.stdout)
    except ValueError as error:
        raise Unreadable("could not be read: the parser failed on it") from error
    if "error" in said:
        raise Unreadable(said["error"])
    return Text(said["text"], tuple(said["breaks"]), said["paged"], said["markdown"])


KINDS: dict[str, Callable[[Path], Text]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".txt": _plain,
    ".text": _plain,
    ".csv": _table,
    ".tsv": _table,
    ".pdf": _in_child,
    ".html": _in_child,
    ".htm": _in_child,
}
