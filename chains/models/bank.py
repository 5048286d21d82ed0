"""The rows of one capacity: those that decode first, side by side, then those that still read their prompts.

A row's place in the list is its slot, so that what decodes is always the first slots and one product serves them all; a row that leaves or
is ready to decode changes places with another.
"""

import torch

from chains.models.kv import Part, Slot, Slots, path_length
from chains.models.packed import Decoding
from chains.models.row import Row


class Bank:
    """The slots of one capacity and the rows in them."""

    def __init__(self) -> None:
        self.slots = Slots()
        self.rows: list[Row] = []
        self.decoding = 0

    def add(self, row: Row) -> None:
        """Give a row the next slot; it reads first."""
        self.rows.append(row)

    def reserve(self, row: Row, tokens: int) -> None:
        """Make room for so many tokens of a row."""
        self.slots.ensure(len(self.rows), tokens)

    def ready(self, row: Row) -> None:
        """Let a row decode: its prompt is read."""
        here, there = self.rows.index(row), self.decoding
        if here != there:
            self.slots.swap(here, there, max(row.own, self.rows[there].own))
            self.rows[here], self.rows[there] = self.rows[there], row
        self.decoding += 1

    def remove(self, row: Row) -> None:
        """Take a row out and close the gap."""
        gap = self.rows.index(row)
        if gap < self.decoding:
            self.decoding -= 1
            gap = self._fill(gap, self.decoding)
        self._fill(gap, len(self.rows) - 1)
        self.rows.pop()
        if not self.rows:
            self.slots = Slots()

    def _fill(self, gap: int, last: int) -> int:
        """Move the row at `last` into the gap, and return where the gap is now."""
        if gap != last:
            self.slots.move(last, gap, self.rows[last].own)
            self.rows[gap] = self.rows[last]
        return last

    def place(self, row: Row) -> Slot:
        """Return where a row's keys and values go."""
        return Slot(self.slots, self.rows.index(row))

    def decode(self, first: int, count: int, start: int, device: torch.device) -> Decoding:
        """Return the forward of `count` decoding rows from `first` on, whose tokens are the step's from `start` on."""
        rows = self.rows[first : first + count]
        self.slots.ensure(len(self.rows), max(row.own for row in rows) + 1)
        return Decoding(
            start,
            start + count,
            self.slots,
            first,
            torch.tensor([row.own for row in rows], device=device),
            torch.tensor([path_length(row.path) for row in rows], device=device),
            _groups(rows, device),
        )


def _groups(rows: list[Row], device: torch.device) -> list[tuple[torch.Tensor | None, Part, int]]:
    """Return each piece of the rows' paths with the rows that have it."""
    found: dict[tuple[int, int, int], tuple[list[int], Part]] = {}
    for place, row in enumerate(rows):
        start = 0
        for part in row.path:
            places, _ = found.setdefault((id(part.segment), part.length, start), ([], part))
            places.append(place)
            start += part.length
    return [
        (None if len(places) == len(rows) else torch.tensor(places, device=device), part, start)
        for (_, _, start), (places, part) in found.items()
    ]
