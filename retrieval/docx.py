"""Word files as Markdown. Runs in the child process of parse.py."""

import mammoth

from retrieval.html import from_fragment
from retrieval.office import opened
from retrieval.text import Text, clean

_TITLES = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => h2:fresh"


def read_docx(raw: bytes) -> Text:
    """Return a Word document with its headings, lists and tables, without its pictures. Raises Unreadable."""
    without = mammoth.images.img_element(lambda image: {})
    with opened(raw, "word/document.xml", "Word") as file:
        page = mammoth.convert_to_html(file, style_map=_TITLES, convert_image=without).value
    return Text(clean(from_fragment(page)) if page else "", markdown=True)
