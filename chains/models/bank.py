"""The rows of one capacity: those that decode first, side by side, then those that still read their prompts.

A row's place in the list is its slot, so that what decodes is always the first slots and one product serves them all; a row that leaves or
is ready to decode changes places with another.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from chains.models.kv import Part, Path, Slots, path_length
from chains.models.packed import Block
from chains.models.row import Row

ROUND = 32
"""What a block of prompts sees is rounded up to this: products of few different shapes are planned once."""


class Bank:
    """The slots of one capacity and the rows in them."""

    def __init__(self) -> None:
        self.slots = Slots()
        self.rows: list[Row] = []
        self.decoding = 0

    def add(self, row: Row) -> None:
        """Give a row the next slot; it reads first."""
        self.rows.append(row)

    def reserve(self, tokens: int) -> None:
        """Make room for so many tokens in a slot."""
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

    def decode(self, first: int, count: int, start: int, device: torch.device) -> Block:
        """Return the forward of `count` decoding rows from `first` on, whose tokens are the step's from `start` on."""
        rows = self.rows[first : first + count]
        self.slots.ensure(len(self.rows), max(row.own for row in rows) + 1)
        return Block(
            self.slots,
            first,
            torch.arange(first, first + count, device=device),
            torch.arange(start, start + count, device=device)[:, None],
            torch.tensor([[row.own] for row in rows], device=device),
            torch.tensor([[path_length(row.path)] for row in rows], device=device),
            _groups([row.path for row in rows], device),
            self.slots.capacity,
        )


@dataclass(frozen=True)
class Piece:
    """Tokens of one prompt that are read now: `count` from the step's `start` on, into `slot` from its token `at` on."""

    slots: Slots
    slot: int
    path: Path
    start: int
    count: int
    at: int


LONGEST = 256
"""A prompt's tokens are read so many at a time: what they see grows with each block, and the scores stay small."""
MOST_SCORES = 2**18
"""Of a block, for each head."""


def blocks(pieces: list[Piece], device: torch.device) -> Iterator[Block]:
    """Yield the forward of the pieces: together those that lie in one bank and are about as long, the longer ones in several blocks."""
    rounds: dict[int, list[Piece]] = {}
    for piece in pieces:
        for number, first in enumerate(range(0, piece.count, LONGEST)):
            cut = replace(
                piece, start=piece.start + first, at=piece.at + first, count=min(LONGEST, piece.count - first)
            )
            rounds.setdefault(number, []).append(cut)
    for _, together in sorted(rounds.items()):
        alike: dict[tuple[int, int], list[Piece]] = {}
        for piece in together:
            alike.setdefault((id(piece.slots), (piece.count - 1).bit_length()), []).append(piece)
        for group in alike.values():
            widest, seen = max(p.count for p in group), max(p.at + p.count for p in group)
            most = max(1, MOST_SCORES // (widest * seen))
            for first in range(0, len(group), most):
                yield _reading(group[first : first + most], device)


def _reading(pieces: list[Piece], device: torch.device) -> Block:
    widest, seen = max(piece.count for piece in pieces), max(piece.at + piece.count for piece in pieces)
    steps = torch.arange(widest)[None].minimum(torch.tensor([[piece.count - 1] for piece in pieces]))  # (R, n)
    return Block(
        pieces[0].slots,
        None,
        torch.tensor([piece.slot for piece in pieces], device=device),
        (steps + torch.tensor([[piece.start] for piece in pieces])).to(device),
        (steps + torch.tensor([[piece.at] for piece in pieces])).to(device),
        torch.tensor([[path_length(piece.path)] for piece in pieces], device=device),
        _groups([piece.path for piece in pieces], device),
        min(pieces[0].slots.capacity, -(-seen // ROUND) * ROUND),
    )


def _groups(paths: list[Path], device: torch.device) -> list[tuple[torch.Tensor | None, Part, int]]:
    """Return each piece of the rows' paths with the rows that have it."""
    found: dict[tuple[int, int, int], tuple[list[int], Part]] = {}
    for place, path in enumerate(paths):
        start = 0
        for part in path:
            places, _ = found.setdefault((id(part.segment), part.length, start), ([], part))
            places.append(place)
            start += part.length
    return [
        (None if len(places) == len(paths) else torch.tensor(places, device=device), part, start)
        for (_, _, start), (places, part) in found.items()
    ]
