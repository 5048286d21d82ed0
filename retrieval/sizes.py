"""How long a part of a text is for an embedding model: in the tokens of its tokenizer, or in characters where it has none.

A text is taken apart into tokens once; the length of any part of it is then read off where its tokens begin.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

SIZE = 600  # characters of a passage at most, for a model without a tokenizer or a language it does not know
TOKENS = 256  # of a passage at most, unless the model reads fewer: what the packaged model reads of a text, by its card

SHORT = 64  # characters: a text that is surely one passage, whatever its tokens are

Starts = Callable[[str], Sequence[int] | None]
"""Returns where the tokens of a text begin, in characters, in order; None where that is not known."""


@dataclass(frozen=True)
class Ruler:
    """Measures parts of one text: `starts` are where its tokens begin, None where characters count; `limit` is what a passage may have."""

    limit: int = SIZE
    starts: Sequence[int] | None = None

    def length(self, start: int, end: int) -> int:
        """Return how many tokens, or characters, lie in text[start:end]."""
        if self.starts is None:
            return end - start
        return bisect_left(self.starts, end) - bisect_left(self.starts, start)

    def fits(self, start: int, end: int, share: float = 1) -> bool:
        """Return whether text[start:end] is within the limit, or within a share of it."""
        return self.length(start, end) <= self.limit * share

    def reach(self, start: int, end: int) -> int:
        """Return the last place up to `end` where text[start:place] still fits."""
        if self.starts is None:
            return min(end, start + self.limit)
        first = bisect_left(self.starts, start) + self.limit
        return min(end, self.starts[first]) if first < len(self.starts) else end


def ruler(embeddings: Any, text: str) -> Ruler:
    """Return what measures the parts of `text` for that model.

    A model says where tokens begin by `token_starts(text)` and how many it reads by `max_tokens`, as LocalEmbeddings does.
    """
    starts: Starts | None = getattr(embeddings, "token_starts", None)
    if starts is None or len(text) <= SHORT:
        return Ruler()
    found = starts(text)
    return Ruler() if found is None else Ruler(min(TOKENS, embeddings.max_tokens), found)
