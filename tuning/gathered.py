"""Attention over a pack on a GPU: its pieces become the rows of one call, or of two, where a CPU is faster piece by piece.

Pieces that begin a sequence are padded to the longest of them, and no mask is needed: behind a piece's end nothing of it looks. Pieces
that follow another are given that one's keys before their own, and a mask. Memory grows with the tokens, not with their square.
Shapes: N tokens of the pack, H heads, KH key heads, D head width; of one call P pieces, n asked and T seen tokens of a piece at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

Lengths = tuple[int, ...]
Follows = tuple[int | None, ...]


@dataclass(frozen=True)
class Call:
    """Pieces of a pack as rows; every place is among the pack's N tokens."""

    asked: torch.Tensor
    """(P, n): the tokens of each piece; where it is shorter, its last one again."""
    seen: torch.Tensor
    """(P, T): what each piece may see, in order, and then its last token again."""
    sees: torch.Tensor | None
    """(P, 1, n, T): True where a row sees a column; None: every row sees what is not behind it."""
    real: torch.Tensor
    """(M,): the places among P x n, row by row, that are no padding."""


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: Lengths,
    follows: Follows,
    scale: float,
    window: int | None,
) -> torch.Tensor:
    """Return (H, N, D) for query (H, N, D), key and value (KH, N, D) of a pack's pieces; each sees itself and what it follows."""
    calls, order = layout(lengths, follows, window, query.device)
    said = torch.cat([_said(call, query, key, value, scale) for call in calls], dim=1)
    return said if len(calls) == 1 else said.index_select(1, order)


def _said(call: Call, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """Return (H, M, D): what the call's tokens get, piece after piece."""
    keys, values = (_rows(each, call.seen).repeat_interleave(len(query) // len(key), dim=1) for each in (key, value))
    said = torch.nn.functional.scaled_dot_product_attention(
        _rows(query, call.asked), keys, values, attn_mask=call.sees, is_causal=call.sees is None, scale=scale
    )  # (P, H, n, D)
    return said.transpose(0, 1).flatten(1, 2).index_select(1, call.real)


def _rows(tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return (P, H, n, D) for tokens (H, N, D) and places (P, n)."""
    return tokens.index_select(1, places.flatten()).unflatten(1, places.shape).transpose(0, 1)


@lru_cache(maxsize=4)
def layout(
    lengths: Lengths, follows: Follows, window: int | None, device: torch.device
) -> tuple[list[Call], torch.Tensor]:
    """Return the calls of a pack, and where among their tokens, one call's after the other's, each token of the pack is."""
    with torch.inference_mode(False):  # what is measured and what is learned from may be the same pack
        starts = [end - length for end, length in zip(torch.tensor(lengths).cumsum(0).tolist(), lengths, strict=True)]
        own = [list(range(start, start + length)) for start, length in zip(starts, lengths, strict=True)]
        before = [[] if place is None else own[place] for place in follows]
        groups = [[n for n, b in enumerate(follows) if (b is None) is begins] for begins in (True, False)]
        groups = [group for group in groups if group]
        calls = [_call([own[n] for n in group], [before[n] for n in group], window, device) for group in groups]
        order = torch.tensor([place for group in groups for n in group for place in own[n]]).argsort()
        return calls, order.to(device)


def _call(own: Sequence[list[int]], before: Sequence[list[int]], window: int | None, device: torch.device) -> Call:
    asked, seen = _padded(own), _padded([[*b, *o] for b, o in zip(before, own, strict=True)])
    n, total = asked.shape[1], seen.shape[1]
    real = torch.arange(n) < torch.tensor([len(o) for o in own])[:, None]  # (P, n)
    sees = None
    if any(before) or (window is not None and total > window):
        rows = torch.tensor([len(b) for b in before])[:, None, None] + torch.arange(n)[:, None]  # (P, n, 1)
        columns = torch.arange(total)
        sees = columns <= rows
        if window is not None:
            sees &= columns > rows - window
        sees = (sees | ~(sees.any(dim=-1, keepdim=True)))[:, None].to(device)  # padding may look anywhere, not nowhere
    return Call(asked.to(device), seen.to(device), sees, real.flatten().nonzero()[:, 0].to(device))


def _padded(pieces: Sequence[list[int]]) -> torch.Tensor:
    longest = max(map(len, pieces))
    return torch.tensor([[*piece, *piece[-1:] * (longest - len(piece))] for piece in pieces])
