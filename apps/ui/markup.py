"""What a model or a document wrote, made safe to show: nothing is loaded from elsewhere, and no text becomes part of the page.

Streamlit shows raw HTML as text. Left are images (a remote one tells its server who reads) and Streamlit's own marks, such as $ for formulas.
"""

import re
from html import escape

_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)
_MARKS = re.compile(r"([\\`*_{}\[\]()#+\-!|$~<>:])")
_APART = "\u2060"  # a joiner of no width: "!" and "[" are then no image, in code neither


def safe(answer: str) -> str:
    """Return `answer` as Markdown in which an image is a link that waits to be clicked, and $ is a dollar."""
    parts = _CODE.split(answer.replace("![", f"!{_APART}["))
    return "".join(part if place % 2 else part.replace("$", r"\$") for place, part in enumerate(parts))


def label(text: str) -> str:
    """Return `text` in one line, every mark of Markdown as itself."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def highlighted(before: str, quote: str, after: str) -> str:
    """Return HTML that shows a passage as it is written, with the quote in it marked."""
    style = "white-space:pre-wrap;overflow-wrap:anywhere;font-size:0.9rem;line-height:1.6"
    mark = "background:#fde68a;color:#1c1917;padding:0 0.1em;border-radius:0.2em"
    return f'<div style="{style}">{escape(before)}<mark style="{mark}">{escape(quote)}</mark>{escape(after)}</div>'
