"""The units of a section: what is not cut further where it can be helped. Paragraphs and tables that fit, sentences, rows and lines of the others."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from chains.sentences import sentences
from retrieval.sizes import Ruler

_WINDOW = 8000  # characters looked at together when a paragraph is cut into sentences
_BLANK = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_DASHES = frozenset("|:- \t")  # what the line below a table's first row is made of


class Unit(NamedTuple):
    """A part of the text. `sentence`: it may be said again at the start of the next passage."""

    start: int
    end: int
    sentence: bool = False
    header: tuple[int, int] | None = None  # where the first rows of the table are that this is a row of


def units(
    text: str, start: int, end: int, ruler: Ruler, code: Sequence[tuple[int, int]], tables: bool
) -> Iterator[Unit]:
    """Yield the units of text[start:end]. `code`: places, in order, that are cut between lines; `tables`: there are tables with | in them."""
    at = start
    for gap in [*_BLANK.finditer(text, start, end), None]:
        first, last = trimmed(text, at, gap.start() if gap else end)
        at = gap.end() if gap else end
        if first == last:
            continue
        if ruler.fits(first, last):
            yield Unit(first, last)
        elif _within(first, code):
            yield from _lines(text, first, last, ruler)
        elif tables and (header := _header(text, first, last)):
            yield from _table(text, first, last, header, ruler)
        else:
            yield from _sentences(text, first, last, ruler)


def _within(place: int, parts: Sequence[tuple[int, int]]) -> bool:
    at = bisect_right(parts, (place, len(parts) and parts[-1][1])) - 1
    return at >= 0 and place < parts[at][1]


def _header(text: str, first: int, last: int) -> tuple[int, int] | None:
    """Return where the first row of a table and the dashes below it are, None where there is none."""
    at, above = first, ""
    for line in text[first:last].split("\n"):
        if "-" in line and "|" in above and _DASHES.issuperset(line):
            return at - len(above) - 1, at + len(line)
        at, above = at + len(line) + 1, line
    return None


def _table(text: str, first: int, last: int, header: tuple[int, int], ruler: Ruler) -> Iterator[Unit]:
    """Yield the lines above a table, and its rows."""
    before, top = trimmed(text, first, header[0])
    if before < top:
        yield from _sentences(text, before, top, ruler)
    if not ruler.fits(*header, share=0.5):
        yield from _lines(text, header[0], last, ruler)
        return
    below = replace(ruler, limit=ruler.limit - ruler.length(*header) - 1)
    for row in _lines(text, header[1], last, below):
        yield Unit(row.start, row.end, header=header)


def _lines(text: str, start: int, end: int, ruler: Ruler) -> Iterator[Unit]:
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        yield from _words(text, start, stop, ruler)
        start = stop + 1


def _sentences(text: str, start: int, end: int, ruler: Ruler) -> Iterator[Unit]:
    """Yield the sentences, with whatever stands between them; what is longer than a passage is cut between words."""
    while start < end:
        stop = end if end - start <= _WINDOW else _space(text, start, start + _WINDOW)
        cuts = [start + last for _, last in sentences(text[start:stop])]
        at = start
        for cut in [*cuts[:-1], stop]:
            yield from (unit._replace(sentence=True) for unit in _words(text, at, cut, ruler))
            at = cut
        start = stop


def _words(text: str, start: int, end: int, ruler: Ruler) -> Iterator[Unit]:
    start, end = trimmed(text, start, end)
    while not ruler.fits(start, end):
        cut = _space(text, start, max(start + 1, ruler.reach(start, end)))
        yield Unit(*trimmed(text, start, cut))
        start, _ = trimmed(text, cut, end)
    if start < end:
        yield Unit(start, end)


def _space(text: str, start: int, stop: int) -> int:
    """Return the last place up to `stop` that stands after a line break or a space; `stop` itself where there is none."""
    for mark in ("\n", " "):
        found = text.rfind(mark, start + 1, stop)
        if found > start:
            return found + 1
    return stop


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the part without the white space around it."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
