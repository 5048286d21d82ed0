"""Where the sentences of a text are, in Korean and in English, in prose and in Markdown.

A sentence is given by its place, so that `text[start:end]` is exactly what stands there. Headings, rules and table borders are no
sentences; a list item or a table row is one or more of its own; lines of a paragraph that was wrapped belong together.
"""

import re
from collections.abc import Iterator

_HEADING = re.compile(r"\s{0,3}(#{1,6}(\s|$)|\*\*[^*]+\*\*:?\s*$)")
_RULE = re.compile(
    r"[\s|:=*_~`+-]*$"
)  # a blank line, a thematic break, a table border, the line under a heading, a code fence
_UNDERLINE = re.compile(r"\s{0,3}(=+|-+)\s*$")
_FENCE = re.compile(r"\s{0,3}(```|~~~)")
_ITEM = re.compile(r"\s*([-*+•·‣○●]|\d{1,3}[.)]|[①-⑳]|\(\d{1,3}\))\s+")
_QUOTE = re.compile(r"\s*(>\s?)+")
_END = re.compile(
    r"""(?<![.!?…。！？])[.!?…。！？]++['"”’»」』)\]]*+(?=\s)    # end marks, closing quotes and brackets, then a space
    |(?<=[다요죠까])[.!?]++(?=[가-힣])                         # Korean that is typed without the space: 했다.그는
    |[。！？]++['"”’」』)]*+                                    # full-width marks need none
    """,
    re.VERBOSE,
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]|Mr|Mrs|Ms|Dr|St|No|Nos|Fig|Eq|vs|etc|cf|pp?|approx|\d{1,2})\.$"
)
_LONGEST = 12  # characters before the point that are looked at for an abbreviation


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield the (start, end) of each sentence of `text`, in order."""
    for start, end in _blocks(text):
        yield from _split(text, start, end)


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of paragraphs and list items, without their markers."""
    lines = list(_lines(text))
    block: tuple[int, int] | None = None
    in_table = False
    for i, (start, end) in enumerate(lines):
        line = text[start:end]
        underlined = i + 1 < len(lines) and line.strip() and _UNDERLINE.match(text[slice(*lines[i + 1])])
        marker = _ITEM.match(line) or _QUOTE.match(line)
        row = line.lstrip().startswith("|")
        if _HEADING.match(line) or _RULE.match(line) or _FENCE.match(line) or underlined:
            if block:
                yield block
            block = None
        elif marker or row or in_table:
            if block:
                yield block
            block = (start + (marker.end() if marker else 0), end)
        else:
            block = (block[0], end) if block else (start, end)
        in_table = row
    if block:
        yield block


def _lines(text: str) -> Iterator[tuple[int, int]]:
    for match in re.finditer(r"[^\r\n]*(?:\r\n|\n|\r|$)", text):
        if match.end() > match.start():
            yield match.start(), match.start() + len(match[0].rstrip("\r\n"))


def _split(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    begun = start
    for mark in _END.finditer(text, start, end):
        if mark[0].startswith(".") and _ABBREVIATION.search(
            text, max(begun, mark.start() - _LONGEST), mark.start() + 1
        ):
            continue
        yield from _trimmed(text, begun, mark.end())
        begun = mark.end()
    yield from _trimmed(text, begun, end)


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if any(char.isalnum() for char in text[start:end]):
        yield start, end
