"""Drawing from the part of a distribution that top-k, top-p and min-p keep.

Each filter keeps the tokens down to some score, so a row needs one number: the lowest score that stays. The likeliest LOOK tokens
mostly tell; where they do not, the row's scores are sorted, without their tokens. A token that ties with the last one kept is kept, so
that the way it was found changes nothing.
Shapes: B rows, V vocabulary, K the likeliest tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

LOOK = 256
"""How many of the likeliest tokens are looked at first."""


@dataclass(frozen=True)
class Filters:
    """One row's filters: `top_k` 0, `top_p` 1 and `min_p` 0 keep everything."""

    top_k: int
    top_p: float
    min_p: float

    @property
    def cut(self) -> bool:
        """Whether anything is left out."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0


def draw(scores: torch.Tensor, filters: Sequence[Filters], uniform: torch.Tensor) -> torch.Tensor:
    """Return a token a row, (B,): the one at `uniform` of the kept tokens' cumulative probability, in the vocabulary's order.

    `scores` is (B, V) float32, divided by the temperature, -inf where a token is ruled out; `uniform` is (B,) float64 in [0, 1).
    """
    tokens = torch.empty(len(filters), dtype=torch.long, device=scores.device)
    whole = [i for i, row in enumerate(filters) if not row.cut]
    if whole:
        everything = torch.full((len(whole),), float("-inf"), device=scores.device)
        tokens[whole] = _among_all(scores[whole], everything, uniform[whole])
    cut = [i for i, row in enumerate(filters) if row.cut]
    if cut:
        tokens[cut] = _cut(scores[cut], [filters[i] for i in cut], uniform[cut])
    return tokens


def _cut(scores: torch.Tensor, filters: Sequence[Filters], uniform: torch.Tensor) -> torch.Tensor:
    values, places = scores.topk(min(LOOK, scores.shape[-1]), dim=-1)  # (B, K), falling
    lowest, certain = _lowest_kept(scores, values, filters)
    tokens = _among(values, places, lowest, uniform)
    wide = (~certain).nonzero()[:, 0].tolist()
    if wide:
        scores = scores[wide]
        lowest, _ = _lowest_kept(scores, _falling(scores), [filters[i] for i in wide])
        tokens[wide] = _among_all(scores, lowest, uniform[wide])
    return tokens


def _falling(scores: torch.Tensor) -> torch.Tensor:
    if scores.device.type == "cpu":  # numpy sorts values alone 60 times as fast as torch sorts values and places
        return torch.from_numpy(-np.sort(-scores.numpy(), axis=-1))
    return scores.sort(dim=-1, descending=True).values


def _lowest_kept(
    scores: torch.Tensor, values: torch.Tensor, filters: Sequence[Filters]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the lowest score that all filters keep, (B,), and whether the likeliest `values`, (B, K), were enough to tell, (B,)."""
    device, many = values.device, values.shape[-1]
    bottom = values[:, -1]
    everything = bottom.isneginf() | (many == scores.shape[-1])  # below `values` there is nothing
    top_k = torch.tensor([row.top_k or scores.shape[-1] for row in filters], device=device)  # (B,)
    kth = values.gather(1, (top_k.clamp(max=many) - 1)[:, None])[:, 0].masked_fill(top_k > many, float("-inf"))
    min_p = torch.tensor([row.min_p for row in filters], device=device)
    top_p = torch.tensor([row.top_p for row in filters], device=device, dtype=torch.float64)

    limited = top_k < scores.shape[-1]
    share = (values - values[:, :1]).exp_().masked_fill_(values < kth[:, None], 0).cumsum(dim=-1, dtype=torch.float64)
    mass = share[:, -1]
    if any(row.top_p < 1 and not row.top_k for row in filters):
        mass = torch.where(limited, mass, _mass(scores))
    last = torch.searchsorted(share, (top_p * mass)[:, None]).clamp(
        max=many - 1
    )  # (B, 1): the first whose share is reached
    pth = values.gather(1, last)[:, 0].masked_fill(top_p >= 1, float("-inf"))

    lowest = torch.stack([kth, pth, values[:, 0] + min_p.log()]).amax(dim=0)
    counted = (
        everything | ~limited | (top_p >= 1) | (bottom < kth)
    )  # all that top-k keeps is in `values`: its mass is known
    return lowest, everything | (counted & (bottom < lowest))


def _mass(scores: torch.Tensor) -> torch.Tensor:
    """Return the sum of exp(score - the row's highest), (B,) float64."""
    return (scores.logsumexp(dim=-1) - scores.amax(dim=-1)).double().exp()


def _among_all(scores: torch.Tensor, lowest: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    weights = (scores - scores.amax(dim=-1, keepdim=True)).exp_()
    return _invert(weights.masked_fill_(scores < lowest[:, None], 0), uniform)


def _among(values: torch.Tensor, places: torch.Tensor, lowest: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    weights = (values - values[:, :1]).exp_().masked_fill_(values < lowest[:, None], 0)
    places, order = places.sort(dim=-1)
    return places.gather(1, _invert(weights.gather(1, order), uniform)[:, None])[:, 0]


def _invert(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Return the place in each row of `weights`, (B, K), where its cumulative share passes `uniform`, (B,); never one of weight 0."""
    total = weights.cumsum(dim=-1, dtype=torch.float64)  # (B, K)
    end = total[:, -1]
    point = torch.minimum(uniform * end, torch.nextafter(end, torch.zeros_like(end)))
    return torch.searchsorted(total, point[:, None], right=True)[:, 0]
