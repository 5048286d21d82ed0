"""Cuts a document into passages along its structure: a heading, a page or a record begins one, and paragraphs are packed together.

A passage is a place, `text[start:end]`, never a rewritten copy, so that an answer can quote the source. How long it may be is told by a
Ruler (sizes.py), in tokens of the embedding model or in characters. A section that does not fit is cut between paragraphs, then between
sentences, then between words; there, and only there, a short last sentence is repeated at the start of the next passage, so that «it»
keeps what it stands for. A table that fits is never cut; a longer one is cut between rows, and its passages know its header. Code is cut
where its definitions begin, then between lines.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from retrieval.blocks import Unit, units
from retrieval.sizes import Ruler
from retrieval.text import Heading, Text

SHARE = 0.2  # of a passage's limit: a longer sentence is not repeated
BETWEEN = " > "  # between the headings that a passage stands under

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ARTICLE = re.compile(
    r"제\s?\d+\s?(편|장|절|관|조)(의\s?\d+)?(?=$|[\s(（【\[.:])"
)  # how Korean rules and laws number their parts
_ARTICLE_LEVEL = {"편": 1, "장": 2, "절": 3, "관": 4, "조": 5}
_ARTICLE_LENGTH = 60  # characters: a longer line that begins so is a sentence


@dataclass(frozen=True)
class Piece:
    """Where a passage is, the headings it stands under ('' for none), and its page from 1 (None where there are no pages)."""

    start: int
    end: int
    heading: str
    page: int | None
    header: tuple[int, int] | None = None  # where the header of its table is, if it is not in the passage


@dataclass(frozen=True)
class _Section:
    start: int
    end: int
    heading: str
    level: int  # of its own heading; 0 where it has none
    body: int  # where its heading line ends


def split(document: Text, ruler: Ruler | None = None) -> Iterator[Piece]:
    """Yield the passages of the document, in order. Every character that is not white space is in one."""
    ruler = ruler or Ruler()
    code = [(0, len(document.text))] if document.code else list(_fenced(document)) if document.markdown else []
    for section in _sections(document):
        page = bisect_right(document.breaks, section.start) if document.paged else None
        parts = units(document.text, section.start, section.end, ruler, code, document.markdown)
        for start, end, header in _packed(list(parts), ruler):
            yield Piece(start, end, section.heading, page, header)


def _sections(document: Text) -> list[_Section]:
    """Return the parts that begin at a heading or a break; a heading with nothing below it goes with the deeper one that follows."""
    text = document.text
    headings = {heading.start: heading for heading in _headings(document)}
    breaks = set(document.breaks)
    starts = sorted({0, *headings, *breaks})
    found: list[_Section] = []
    above: list[tuple[int, str]] = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        _, body, level, title = headings.get(start, Heading(start, start, 0, ""))
        if level:
            above = [*((depth, name) for depth, name in above if depth < level), (level, title)]
        begin = start
        if (
            found
            and found[-1].level
            and level > found[-1].level
            and start not in breaks
            and not text[found[-1].body : start].strip()
        ):
            begin = found.pop().start
        heading = BETWEEN.join(name for _, name in above if name)
        found.append(_Section(begin, end, heading, level, body))
    return found


def _headings(document: Text) -> Iterable[Heading]:
    """Return the headings of the document, in order."""
    if document.code:
        return document.headings
    lines = _lines(document.text)
    return _marked(lines) if document.markdown else _articles(lines)


def _lines(text: str) -> list[tuple[int, str]]:
    lines: list[tuple[int, str]] = []
    at = 0
    for line in text.split("\n"):
        lines.append((at, line))
        at += len(line) + 1
    return lines


def _fenced(document: Text) -> Iterator[tuple[int, int]]:
    """Yield where the fenced code of a Markdown document is; code that is never closed goes to the end."""
    fence, begin = "", 0
    for start, line in _lines(document.text):
        before, fence = fence, _fence(line, fence)
        if fence and not before:
            begin = start
        elif before and not fence:
            yield begin, start + len(line)
    if fence:
        yield begin, len(document.text)


def _fence(line: str, fence: str) -> str:
    """Return the fence that is open after the line; `fence` is the one open before it, '' for none."""
    mark = _FENCE.match(line)
    if not mark:
        return fence
    closes = mark[1].startswith(fence) and not line[mark.end() :].strip()
    return mark[1] if not fence else "" if closes else fence


def _articles(lines: list[tuple[int, str]]) -> Iterator[Heading]:
    for start, line in lines:
        number = _ARTICLE.match(line)
        if number and len(line) <= _ARTICLE_LENGTH and not line.rstrip().endswith("다."):
            yield Heading(start, start + len(line), _ARTICLE_LEVEL[number[1]], " ".join(line.split()))


def _marked(lines: list[tuple[int, str]]) -> Iterator[Heading]:
    """Yield the headings of Markdown, those with # before them and those underlined, but not what looks like one in fenced code."""
    fence = ""
    for i, (start, line) in enumerate(lines):
        before, fence = fence, _fence(line, fence)
        if before or fence:
            continue
        if heading := _ATX.match(line):
            yield Heading(start, start + len(line), len(heading[1]), _plain(heading[2] or ""))
        elif i + 1 < len(lines) and (under := _UNDERLINE.match(lines[i + 1][1])) and _could_be_heading(lines, i):
            end = lines[i + 1][0] + len(lines[i + 1][1])
            yield Heading(start, end, 1 if under[1][0] == "=" else 2, _plain(line))


def _could_be_heading(lines: list[tuple[int, str]], i: int) -> bool:
    """Return whether line `i` is a paragraph of one line."""
    line = lines[i][1]
    alone = i == 0 or not lines[i - 1][1].strip()
    return alone and bool(line.strip()) and not line.startswith(("    ", "\t", "|", ">", "- ", "* ", "+ ", "---"))


def _plain(title: str) -> str:
    """Return a heading's words without emphasis, code marks and links' targets."""
    title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title)
    return " ".join(re.sub(r"[*`]+", "", title).split())


def _packed(parts: list[Unit], ruler: Ruler) -> Iterator[tuple[int, int, tuple[int, int] | None]]:
    """Yield runs of units that fit into a passage together, and the table's header that the run does without."""
    first = 0
    while first < len(parts):
        header = parts[first].header
        begins = header is not None and (first == 0 or parts[first - 1].header != header)
        start = header[0] if header and begins else parts[first].start
        room = ruler.limit - (ruler.length(*header) if header and not begins else 0)
        after = first + 1
        while after < len(parts) and parts[after].header == header and ruler.length(start, parts[after].end) <= room:
            after += 1
        yield start, parts[after - 1].end, None if begins else header
        first = after - 1 if _repeated(parts, first, after, ruler) else after


def _repeated(parts: list[Unit], first: int, after: int, ruler: Ruler) -> bool:
    """Return whether the last unit of the run parts[first:after] is said again: a short sentence that goes with what follows."""
    last = parts[after - 1]
    return (
        after < len(parts)
        and after - 1 > first
        and last.sentence
        and parts[after].header is None
        and ruler.fits(last.start, last.end, share=SHARE)
        and ruler.fits(last.start, parts[after].end)
    )
