"""What of a document goes into the library: its text, and its passages with their words and their hashes.

This is the part of a sync that takes computing and no library, so that other processes can do it (crew.py).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from retrieval import words
from retrieval.kinds import is_picture
from retrieval.loaders import load, picture
from retrieval.parser import Limits
from retrieval.sizes import Ruler, ruler
from retrieval.split import BETWEEN, Piece, split
from retrieval.text import Picture, Text


class NewPassage(NamedTuple):
    """A passage to be stored. `header` is its table's, where it does without; `hash` is of what is embedded."""

    piece: Piece
    terms: list[str]
    embedded: bool
    header: str
    hash: bytes
    picture: bool = False


class Prepared(NamedTuple):
    """A document and its passages; a picture is one without text."""

    text: Text
    passages: list[NewPassage]
    picture: Picture | None = None


def prepare(path: Path, embeddings: Any, limits: Limits, edge: int = 0) -> Prepared:
    """Return what the file at `path` gives; of a picture the shorter side is `edge` pixels long. Raises Unreadable."""
    if is_picture(path.name):
        return seen(picture(path, edge, limits))
    return cut(load(path, limits), embeddings)


def seen(found: Picture) -> Prepared:
    """Return a picture as one passage."""
    hash = hashlib.blake2b(f"{found.width} {found.rgb}".encode(), digest_size=16).digest()
    return Prepared(Text(""), [NewPassage(Piece(0, 0, "", None), [], True, "", hash, picture=True)], found)


def cut(text: Text, embeddings: Any) -> Prepared:
    """Return the text with its passages, as long as the model likes them."""
    known = covers(embeddings, text.text)
    return passages(text, list(split(text, ruler(embeddings, text.text) if known else Ruler())), embeddings)


def passages(text: Text, pieces: Sequence[Piece], embeddings: Any) -> Prepared:
    """Return the text with these passages."""
    found = [_Part(piece, text.text[piece.start : piece.end], _header(text, piece)) for piece in pieces]
    terms = words.terms([part.counted() for part in found])
    return Prepared(
        text,
        [
            NewPassage(part.piece, own, covers(embeddings, part.words), part.header, part.hash())
            for part, own in zip(found, terms, strict=True)
        ],
    )


def embedded_text(words: str, heading: str, header: str = "") -> str:
    """Return what is embedded for a passage: its words, below its heading where that is not among them, and its table's header."""
    nearest = _nearest(heading)
    return "\n".join(filter(None, ["" if nearest in words else nearest, header, words]))


def counted_text(words: str, heading: str, header: str = "") -> str:
    """Return what a passage's terms are taken from: those of its heading count once more, since it says what the passage is about."""
    above = f"{header}\n" if header else ""
    return f"{_nearest(heading)}\n{above}{words}"


def covers(embeddings: Any, text: str) -> bool:
    """Return whether the model knows the language of `text`; one that does not say is taken to know it."""
    return embeddings.covers(text) if hasattr(embeddings, "covers") else True


class _Part(NamedTuple):
    """A passage on its way."""

    piece: Piece
    words: str
    header: str

    def counted(self) -> str:
        """Return what its terms are taken from."""
        return counted_text(self.words, self.piece.heading, self.header)

    def hash(self) -> bytes:
        whole = embedded_text(self.words, self.piece.heading, self.header)
        return hashlib.blake2b(whole.encode(), digest_size=16).digest()


def _header(text: Text, piece: Piece) -> str:
    return text.text[slice(*piece.header)] if piece.header else ""


def _nearest(heading: str) -> str:
    return heading.rpartition(BETWEEN)[2]
