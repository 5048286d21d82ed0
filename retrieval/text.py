"""What a document is once it has been read: its text, and where in it a passage has to begin."""

import base64
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

MAX_CHARACTERS = 20_000_000  # of one document

_REPLACED = str.maketrans(
    {
        "\x00": "",
        "\u2028": "\n",  # line separator
        "\u2029": "\n\n",  # paragraph separator
        "\xad": "",  # soft hyphen
        "\ufb00": "ff",  # the Latin ligatures, which PDFs are full of and nobody types
        "\ufb01": "fi",
        "\ufb02": "fl",
        "\ufb03": "ffi",
        "\ufb04": "ffl",
    }
)


class Unreadable(Exception):
    """A file that cannot be read; its text is the end of a sentence that begins with the file's name."""


class Heading(NamedTuple):
    """A line that names what follows: where it is, how deep (1 is the highest), and its words."""

    start: int
    end: int
    level: int
    title: str


@dataclass(frozen=True)
class Text:
    """A document's text. `breaks` are the offsets where its pages, or its records, begin."""

    text: str
    breaks: tuple[int, ...] = ()
    paged: bool = False  # breaks are the pages, in order
    markdown: bool = False  # lines with # in front are headings
    code: bool = False  # lines are not run together, and `headings` are where its functions and classes begin
    headings: tuple[Heading, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A picture of `width` by `height` pixels; `rgb` is three bytes a pixel, row by row, in base 64."""

    width: int
    height: int
    rgb: str

    def pixels(self) -> "np.ndarray":
        """Return the bytes as (height, width, 3)."""
        import numpy as np

        return np.frombuffer(base64.b64decode(self.rgb), dtype=np.uint8).reshape(self.height, self.width, 3)


def clean(text: str) -> str:
    """Return `text` as it is kept: composed (NFC, so that 'ㅎ'+'ㅏ' is '하'), with '\\n' at line ends and without what is no character."""
    text = text.encode("utf-8", "ignore").decode("utf-8")  # lone surrogates
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_REPLACED)
    return unicodedata.normalize("NFC", text)


def joined(parts: list[str]) -> tuple[str, tuple[int, ...]]:
    """Return the parts with a blank line between them, and where each begins."""
    breaks: list[int] = []
    at = 0
    for part in parts:
        breaks.append(at)
        at += len(part) + 2
    return "\n\n".join(parts), tuple(breaks)
