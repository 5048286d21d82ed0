"""What a step computes, in blocks that attend side by side: the rows that decode, and pieces of the prompts that are read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from chains.models.kv import Pages, Part, Path, path_length
from chains.models.packed import Block
from chains.models.row import Row

ROUND = 32
"""What a block of prompts sees is rounded up to this: products of few different shapes are planned once."""


def decode(store: Pages, rows: Sequence[Row], pages: Sequence[list[int]], device: torch.device) -> Block:
    """Return the forward of rows that decode, whose tokens are the step's first."""
    own = torch.tensor([[row.own] for row in rows], device=device)
    return Block(
        store,
        _table(pages, device),
        torch.arange(len(rows), device=device)[:, None],
        own,
        torch.tensor([[path_length(row.path)] for row in rows], device=device),
        _groups([row.path for row in rows], device),
        int(own.max()) + 1,
    )


@dataclass(frozen=True)
class Piece:
    """Tokens of one prompt that are read now: `count` from the step's `start` on, into its `pages` from their token `at` on."""

    store: Pages
    pages: list[int]
    path: Path
    start: int
    count: int
    at: int


LONGEST = 256
"""A prompt's tokens are read so many at a time: what they see grows with each block, and the scores stay small."""
MOST_SCORES = 2**18
"""Of a block, for each head."""


def read(pieces: list[Piece], device: torch.device) -> Iterator[Block]:
    """Yield the forward of the pieces: together those that lie in one store and are about as long, the longer ones in several blocks."""
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
            alike.setdefault((id(piece.store), (piece.count - 1).bit_length()), []).append(piece)
        for group in alike.values():
            widest, seen = max(p.count for p in group), max(p.at + p.count for p in group)
            most = max(1, MOST_SCORES // (widest * seen))
            for first in range(0, len(group), most):
                yield _reading(group[first : first + most], device)


def _reading(pieces: list[Piece], device: torch.device) -> Block:
    widest, seen = max(piece.count for piece in pieces), max(piece.at + piece.count for piece in pieces)
    steps = torch.arange(widest)[None].minimum(torch.tensor([[piece.count - 1] for piece in pieces]))  # (R, n)
    return Block(
        pieces[0].store,
        _table([piece.pages for piece in pieces], device),
        (steps + torch.tensor([[piece.start] for piece in pieces])).to(device),
        (steps + torch.tensor([[piece.at] for piece in pieces])).to(device),
        torch.tensor([[path_length(piece.path)] for piece in pieces], device=device),
        _groups([piece.path for piece in pieces], device),
        min(pieces[0].store.grain * max(len(piece.pages) for piece in pieces), -(-seen // ROUND) * ROUND),
    )


def _table(pages: Sequence[list[int]], device: torch.device) -> torch.Tensor:
    """Return the rows' pages (R, p); a row with fewer repeats its last, so that it reads nobody else's."""
    most = max(map(len, pages))
    return torch.tensor([[*own, *own[-1:] * (most - len(own))] for own in pages], device=device)


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
