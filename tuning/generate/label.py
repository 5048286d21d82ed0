"""A person's rankings in the making: what each key does to the answers before them, without a terminal.

The answers are shown in an order drawn by the row's number, so that the place an answer stands at says nothing about it. Keys name them from
the best to the worst; a key after `tie` shares the last one's rank. Everything can be taken back, the row before included.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tuning.generate.journal import Journal
from tuning.generate.judge import with_ranks
from tuning.generate.rank import answers_of

Row = dict[str, Any]


@dataclass
class Sheet:
    """One row being ranked. `order` are the places of its answers as shown; `groups` the shown numbers placed so far, best first."""

    prompt: list[Row]
    answers: list[str]
    order: list[int]
    groups: list[list[int]] = field(default_factory=list)
    tying: bool = False

    @property
    def shown(self) -> list[str]:
        """The answers in the order they are shown, number 1 first."""
        return [self.answers[place] for place in self.order]

    @property
    def placed(self) -> set[int]:
        """The shown numbers that have a rank."""
        return {number for group in self.groups for number in group}

    @property
    def complete(self) -> bool:
        """Whether every answer has a rank."""
        return len(self.placed) == len(self.answers)

    def put(self, number: int) -> bool:
        """Give the answer shown as `number` the next rank, or the last one's after `tie`. False where it has one, or there is no such."""
        if not 1 <= number <= len(self.answers) or number in self.placed:
            return False
        if self.tying:
            self.groups[-1].append(number)
        else:
            self.groups.append([number])
        self.tying = False
        return True

    def tie(self) -> bool:
        """Let the next answer share the last one's rank. False where there is none to share, or none left."""
        self.tying = bool(self.groups) and not self.complete
        return self.tying

    def take_back(self) -> bool:
        """Undo the last key. False where nothing is placed."""
        if self.tying:
            self.tying = False
            return True
        if not self.groups:
            return False
        self.groups[-1].pop()
        self.groups = [group for group in self.groups if group]
        return True

    def ranks(self) -> list[int]:
        """Return each answer's rank, in the order of the row."""
        found = [0] * len(self.answers)
        for rank, group in enumerate(self.groups, 1):
            for number in group:
                found[self.order[number - 1]] = rank
        return found


class Labeling:
    """All the rows, and what was decided of each; every decision is in the journal before the next row comes up."""

    def __init__(self, rows: Sequence[Row], journal: Journal, seed: int = 0) -> None:
        self.rows = rows
        self._journal = journal
        self._seed = seed
        self._decided: list[tuple[int, list[int] | None]] = []  # (row, its ranks, None where it was skipped), in order
        for event in journal.events:
            if event.get("undo"):
                self._decided.pop()
            else:
                self._decided.append((event["row"], event["ranks"]))

    @property
    def done(self) -> int:
        """How many rows are decided, those that were skipped included."""
        return len(self._decided)

    @property
    def skipped(self) -> int:
        """How many rows were skipped."""
        return sum(ranks is None for _, ranks in self._decided)

    def sheet(self) -> Sheet | None:
        """Return the next row to rank, or None where all are decided."""
        if self.done == len(self.rows):
            return None
        row = self.rows[self.done]
        answers = answers_of("a row", row)
        order = random.Random(f"{self._seed}:{self.done}").sample(range(len(answers)), len(answers))
        return Sheet(row["input"]["messages"], answers, order)

    def decide(self, ranks: list[int] | None) -> None:
        """Write down the ranks of the row before the person, or with None that it is skipped."""
        event = self._journal.add({"row": self.done, "ranks": ranks})
        self._decided.append((event["row"], ranks))

    def undo(self) -> bool:
        """Take the last decision back, so that its row comes up again. False where there is none."""
        if not self._decided:
            return False
        self._journal.add({"undo": True})
        self._decided.pop()
        return True

    def ranked(self) -> list[Row]:
        """Return the rows that have ranks. One whose answers all tie is not among them: it teaches nothing."""
        return [with_ranks(self.rows[row], ranks) for row, ranks in self._decided if ranks and len(set(ranks)) > 1]
