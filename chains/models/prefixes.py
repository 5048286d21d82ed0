"""Beginnings that were computed once: a few-shot header, a template's text, a conversation's earlier turns.

Each entry is a sequence of tokens and where its keys and values are. A request reuses the longest beginning that any entry shares with it;
the entry that was used longest ago goes first when the tokens kept are more than the budget.
"""

from dataclasses import dataclass

import numpy as np

from chains.models.kv import Path, cut, distinct, joined

SHORTEST = 32
"""Fewer tokens than this are computed again: a piece of its own costs every step more."""
MOST_PIECES = 3
"""A path of more pieces is made one."""
MOST_ENTRIES = 256

Ids = np.ndarray


@dataclass
class _Entry:
    ids: Ids
    path: Path
    used: int


class Prefixes:
    """The beginnings kept, at most `budget` tokens of them. `reused` counts the tokens that were not computed again."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.reused = 0
        self._entries: list[_Entry] = []
        self._clock = 0

    def longest(self, ids: Ids) -> tuple[Path, int]:
        """Return the longest known beginning of `ids`, its last token left out, and its length; an empty path where none is worth it."""
        best, length = None, SHORTEST - 1
        for entry in self._entries:
            if (common := shared(entry.ids, ids[:-1])) > length:
                best, length = entry, common
        if best is None:
            return (), 0
        self._clock += 1
        best.used = self._clock
        return cut(best.path, length), length

    def add(self, ids: Ids, path: Path) -> None:
        """Keep a sequence, and drop what it makes needless or what the budget has no room for."""
        if len(ids) < SHORTEST or distinct([path]) > self.budget:
            return
        path = joined(path) if len(path) > MOST_PIECES else path
        self._clock += 1
        self._entries = [entry for entry in self._entries if shared(entry.ids, ids) < len(entry.ids)]
        self._entries.append(_Entry(ids, path, self._clock))
        while len(self._entries) > MOST_ENTRIES or self.tokens > self.budget:
            self._entries.remove(min(self._entries, key=lambda entry: entry.used))

    def clear(self) -> None:
        """Forget everything: the weights it was computed with have changed."""
        self._entries.clear()

    @property
    def tokens(self) -> int:
        """How many tokens' keys and values are kept."""
        return distinct(entry.path for entry in self._entries)


def shared(one: Ids, other: Ids) -> int:
    """Return how many tokens two sequences have in common from the first on."""
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    return int(differs.argmax()) if differs.any() else length
