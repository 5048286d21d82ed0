"""Embeddings that cost nothing and count, and folders of documents to sync."""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from retrieval import Library


class Counting(Embeddings):
    """A text's vector is the sum of its words' (each a random one, the word is the seed); keeps the texts it was given."""

    name = "counting"

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def covers(self, text: str) -> bool:
        return text.isascii()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.embedded += texts
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        words = [word.strip(".,?!#") for word in text.lower().split()]
        return [float(x) for x in sum((_word(word) for word in words), np.full(64, 1e-3))]


@cache
def _word(word: str) -> np.ndarray:
    return np.random.default_rng(list(word.encode())).standard_normal(64)


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def library(tmp_path, counting):
    with Library(tmp_path / "library", counting) as library:
        yield library


@pytest.fixture
def docs(tmp_path) -> Path:
    """A folder with three documents: two in English, one in Korean."""
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "pool.md").write_text("# Pool\n\nThe pool opens at nine.\n\n# Sauna\n\nThe sauna is hot.\n")
    (folder / "sub" / "bus.txt").write_text("The bus to the museum leaves every ten minutes.")
    (folder / "도서관.md").write_text("# 도서관\n\n도서관은 월요일에 쉰다.\n", encoding="utf-8")
    return folder


def _pdf(*pages: str, password: str = "") -> bytes:
    """A PDF with one line of text on every page."""
    writer = PdfWriter()
    for text in pages:
        page = writer.add_blank_page(300, 300)
        font = DictionaryObject({NameObject(f"/{key}"): NameObject(f"/{value}") for key, value in _FONT.items()})
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        content = DecodedStreamObject()
        content.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
        page[NameObject("/Contents")] = writer._add_object(content)
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


_FONT = {"Type": "Font", "Subtype": "Type1", "BaseFont": "Helvetica"}


@pytest.fixture(scope="session")
def pdf() -> Callable[..., bytes]:
    """Makes the bytes of a PDF from the text of each page."""
    return _pdf
