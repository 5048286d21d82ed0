"""Cuts a document into passages along its structure: a heading, a page or a record begins one, and paragraphs are packed together.

A passage is a place, `text[start:end]`, never a rewritten copy, so that an answer can quote the source. It is at most SIZE characters
long. A section that does not fit is cut between paragraphs, then between sentences, then between words; there, and only there, a short
last sentence is repeated at the start of the next passage, so that «it» keeps what it stands for.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from chains.sentences import sentences
from retrieval.text import Text

SIZE = 600  # characters: well under the 256 tokens that the packaged embedding model reads, in English
OVERLAP = 120  # characters: a longer sentence is not repeated
BETWEEN = " > "  # between the headings that a passage stands under

_WINDOW = 8000  # characters looked at together when a paragraph is cut into sentences
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ARTICLE = re.compile(
    r"제\s?\d+\s?(편|장|절|관|조)(의\s?\d+)?(?=$|[\s(（【\[.:])"
)  # how Korean rules and laws number their parts
_ARTICLE_LEVEL = {"편": 1, "장": 2, "절": 3, "관": 4, "조": 5}
_ARTICLE_LENGTH = 60  # characters: a longer line that begins so is a sentence
_BLANK = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")


@dataclass(frozen=True)
class Piece:
    """Where a passage is, the headings it stands under ('' for none), and its page from 1 (None where there are no pages)."""

    start: int
    end: int
    heading: str
    page: int | None


@dataclass(frozen=True)
class _Section:
    start: int
    end: int
    heading: str
    level: int  # of its own heading; 0 where it has none
    body: int  # where its heading line ends


def split(document: Text) -> Iterator[Piece]:
    """Yield the passages of the document, in order. Every character that is not white space is in one."""
    for section in _sections(document):
        page = bisect_right(document.breaks, section.start) if document.paged else None
        for start, end in _packed(list(_units(document.text, section.start, section.end))):
            yield Piece(start, end, section.heading, page)


def _sections(document: Text) -> list[_Section]:
    """Return the parts that begin at a heading or a break; a heading with nothing below it goes with the deeper one that follows."""
    text = document.text
    headings = {start: (level, title, end) for start, end, level, title in _headings(document)}
    breaks = set(document.breaks)
    starts = sorted({0, *headings, *breaks})
    found: list[_Section] = []
    above: list[tuple[int, str]] = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        level, title, body = headings.get(start, (0, "", start))
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


def _headings(document: Text) -> Iterator[tuple[int, int, int, str]]:
    """Yield the start of the line, the end of the heading, its level and its words."""
    lines: list[tuple[int, str]] = []
    at = 0
    for line in document.text.split("\n"):
        lines.append((at, line))
        at += len(line) + 1
    return _marked(lines) if document.markdown else _articles(lines)


def _articles(lines: list[tuple[int, str]]) -> Iterator[tuple[int, int, int, str]]:
    for start, line in lines:
        number = _ARTICLE.match(line)
        if number and len(line) <= _ARTICLE_LENGTH and not line.rstrip().endswith("다."):
            yield start, start + len(line), _ARTICLE_LEVEL[number[1]], " ".join(line.split())


def _marked(lines: list[tuple[int, str]]) -> Iterator[tuple[int, int, int, str]]:
    """Yield the headings of Markdown, those with # before them and those underlined, but not what looks like one in fenced code."""
    fence = ""
    for i, (start, line) in enumerate(lines):
        if mark := _FENCE.match(line):
            closes = mark[1].startswith(fence) and not line[mark.end() :].strip()
            fence = mark[1] if not fence else "" if closes else fence
        elif fence:
            continue
        elif heading := _ATX.match(line):
            yield start, start + len(line), len(heading[1]), _plain(heading[2] or "")
        elif i + 1 < len(lines) and (under := _UNDERLINE.match(lines[i + 1][1])) and _could_be_heading(lines, i):
            yield start, lines[i + 1][0] + len(lines[i + 1][1]), 1 if under[1][0] == "=" else 2, _plain(line)


def _could_be_heading(lines: list[tuple[int, str]], i: int) -> bool:
    """Return whether line `i` is a paragraph of one line."""
    line = lines[i][1]
    alone = i == 0 or not lines[i - 1][1].strip()
    return alone and bool(line.strip()) and not line.startswith(("    ", "\t", "|", ">", "- ", "* ", "+ ", "---"))


def _plain(title: str) -> str:
    """Return a heading's words without emphasis, code marks and links' targets."""
    title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title)
    return " ".join(re.sub(r"[*`]+", "", title).split())


def _units(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield what is not cut further where it can be helped: paragraphs that fit, and the sentences of the others."""
    at = start
    for gap in [*_BLANK.finditer(text, start, end), None]:
        first, last = _trimmed(text, at, gap.start() if gap else end)
        at = gap.end() if gap else end
        if first < last:
            yield from [(first, last)] if last - first <= SIZE else _sentences(text, first, last)


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the sentences, with whatever stands between them; what is longer than SIZE is cut between words."""
    while start < end:
        stop = end if end - start <= _WINDOW else _space(text, start, start + _WINDOW)
        cuts = [start + last for _, last in sentences(text[start:stop])]
        at = start
        for cut in [*cuts[:-1], stop]:
            yield from _words(text, at, cut)
            at = cut
        start = stop


def _words(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    start, end = _trimmed(text, start, end)
    while end - start > SIZE:
        cut = _space(text, start, start + SIZE)
        yield _trimmed(text, start, cut)
        start, _ = _trimmed(text, cut, end)
    if start < end:
        yield start, end


def _space(text: str, start: int, stop: int) -> int:
    """Return the last place up to `stop` that stands after a line break or a space; `stop` itself where there is none."""
    for mark in ("\n", " "):
        found = text.rfind(mark, start + 1, stop)
        if found > start:
            return found + 1
    return stop


def _packed(units: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield runs of units that fit into SIZE together."""
    first = 0
    while first < len(units):
        after = first + 1
        while after < len(units) and units[after][1] - units[first][0] <= SIZE:
            after += 1
        yield units[first][0], units[after - 1][1]
        last = units[after - 1]
        repeat = (
            after < len(units)
            and after - 1 > first
            and last[1] - last[0] <= OVERLAP
            and units[after][1] - last[0] <= SIZE
        )
        first = after - 1 if repeat else after


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
