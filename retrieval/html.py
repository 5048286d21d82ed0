"""HTML pages as Markdown: headings with # before them, lists with -, tables with |. Runs in the child process of parse.py."""

from collections.abc import Iterator, Sequence
from typing import Any

import trafilatura
from lxml import html

from retrieval.text import Text, Unreadable, clean

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LISTS = ("ul", "ol")
_DROPPED = "//script|//style|//noscript|//template"
_INLINE = frozenset(
    (
        *(
            "a",
            "abbr",
            "b",
            "bdi",
            "bdo",
            "br",
            "cite",
            "code",
            "data",
            "del",
            "dfn",
            "em",
            "font",
            "i",
            "img",
            "ins",
            "kbd",
        ),
        *(
            "label",
            "mark",
            "q",
            "s",
            "samp",
            "small",
            "span",
            "strike",
            "strong",
            "sub",
            "sup",
            "time",
            "tt",
            "u",
            "var",
            "wbr",
        ),
    )
)


def read_html(raw: bytes) -> Text:
    """Return the main text of the page as Markdown, or all of its body's text where no main text is found. Raises Unreadable."""
    page: Any = trafilatura.load_html(raw)
    if page is None:
        raise Unreadable("cannot be read as an HTML page, or not in the memory that one may take")
    main = trafilatura.extract(page, output_format="markdown", include_comments=False, favor_recall=True)
    if main and main.strip():
        return Text(clean(main), markdown=True)
    page = trafilatura.load_html(raw)  # the extraction took parts out of the first one
    for element in page.xpath(_DROPPED):
        element.drop_tree()
    body = page.find("body")
    return Text(clean(markdown(page if body is None else body)), markdown=True)


def from_fragment(source: str) -> str:
    """Return a piece of HTML, all of it, as Markdown."""
    return markdown(html.fragment_fromstring(source, create_parent="div"))


def markdown(element: Any) -> str:
    """Return what stands in the element as Markdown."""
    return "\n\n".join(filter(None, _blocks(element)))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as a Markdown table, whose first row names the columns; '' where no cell holds anything."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    cells = [row for row in cells if any(row)]
    if not cells:
        return ""
    width = max(map(len, cells))
    lines = [f"| {' | '.join([*row, *[''] * (width - len(row))])} |" for row in cells]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])


def _blocks(element: Any) -> Iterator[str]:
    """Yield the paragraphs, headings, lists and tables of the element, in order."""
    run = [element.text or ""]
    for child in element:
        if not isinstance(child.tag, str) or child.tag in _INLINE:  # a comment has no name
            run.append(str(child.text_content()) if isinstance(child.tag, str) and child.tag != "br" else " ")
        else:
            yield _line("".join(run))
            run = []
            yield from _block(child)
        run.append(child.tail or "")
    yield _line("".join(run))


def _block(element: Any) -> Iterator[str]:
    if element.tag in _HEADINGS:
        title = _line(element.text_content())
        yield f"{'#' * _HEADINGS[element.tag]} {title}" if title else ""
    elif element.tag == "table":
        yield table([[cell.text_content() for cell in row.xpath("./td|./th")] for row in element.iter("tr")])
    elif element.tag == "pre":
        yield f"```\n{element.text_content().strip(chr(10))}\n```"
    elif element.tag in _LISTS:
        yield "\n".join(_items(element, ""))
    else:
        yield from _blocks(element)


def _items(element: Any, indent: str) -> Iterator[str]:
    """Yield the lines of a list, those of lists in it further in."""
    for item in element:
        if item.tag in _LISTS:
            yield from _items(item, indent + "  ")
        elif item.tag == "li":
            inner = [child for child in item if child.tag in _LISTS]
            for child in inner:
                item.remove(child)
            yield f"{indent}- {_line(item.text_content())}"
            for child in inner:
                yield from _items(child, indent + "  ")


def _line(text: str) -> str:
    return " ".join(text.split())
