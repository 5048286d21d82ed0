"""The tokens of a file's rows, counted many rows at once: a tokenizer is quicker so, and uses every core."""

from collections.abc import Callable, Iterator

from tuning.data.item import Item
from tuning.data.parse import Problem
from tuning.data.summary import Summary
from tuning.data.tokens import Asking, Count, Tokens

MOST_ROWS, MOST_CHARACTERS = 256, 2**19
"""Rows that wait, and their characters: a character's tokens take some hundred bytes while they are counted."""


class Counting:
    """Rows wait here until they are many; `flush` counts what still waits. `tell` is called with a row's line and each of its problems."""

    def __init__(self, tokens: Tokens, summary: Summary, tell: Callable[[int, Problem], None]) -> None:
        self._tokens, self._summary, self._tell = tokens, summary, tell
        self._waiting: list[tuple[int, list[Asking]]] = []
        self._characters = 0

    def add(self, line: int, item: Item, characters: int) -> None:
        """Count a row, now or soon."""
        if item.kind == "text":
            number = self._tokens.text(item.text)
            self._summary.count(Count(number, number, {}))
            return
        ends = [item.conversation(output) for output in item.outputs] or [item.messages]
        self._waiting.append((line, [Asking(m, item.tools, learns=m[-1]["role"] == "assistant") for m in ends]))
        self._characters += characters
        if len(self._waiting) >= MOST_ROWS or self._characters >= MOST_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        """Count the rows that wait."""
        counts = iter(self._tokens.chats([asked for _, row in self._waiting for asked in row]))
        for line, row in self._waiting:
            found = [next(counts) for _ in row]
            self._summary.count(max(found, key=lambda count: count.total))
            for problem in _once(found):
                self._tell(line, problem)
        self._waiting, self._characters = [], 0


def _once(counts: list[Count]) -> Iterator[Problem]:
    """Yield the problems of a row's conversations, the first of each rule."""
    told: set[str] = set()
    for problem in (problem for count in counts for problem in count.problems):
        if problem[0] not in told:
            told.add(problem[0])
            yield problem
