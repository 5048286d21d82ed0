"""Texts as counts of their character pairs: likeness without a model, in any language. Korean endings change and stems do not, so it serves
Korean well; it knows nothing of meaning.
"""

import math
import re
import unicodedata
import zlib
from collections import Counter

from langchain_core.embeddings import Embeddings

_WORD = re.compile(r"\w+")


class Bigrams(Embeddings):
    """Vectors of length 1 with `size` numbers: the pairs within each word (with its beginning and end), hashed."""

    def __init__(self, size: int = 4096) -> None:
        self.size = size

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text, in their order."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a text; of one without words, zeros."""
        counts: Counter[int] = Counter()
        for word in _WORD.findall(unicodedata.normalize("NFC", text).casefold()):
            padded = f" {word} "
            counts.update(zlib.crc32(padded[i : i + 2].encode()) % self.size for i in range(len(padded) - 1))
        long = math.hypot(*counts.values()) or 1.0
        return [counts.get(place, 0) / long for place in range(self.size)]
