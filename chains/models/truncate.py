"""Drawing from the part of a distribution that top-k, top-p and min-p keep, without sorting the vocabulary.

Each filter keeps the tokens down to some score, so a row needs one number: the lowest score that stays. It depends on the likeliest
tokens alone, of which more are looked at until it is certain. Tokens that tie with the last one kept are kept, so that how many
were looked at changes nothing.
Shapes: B rows, V vocabulary, K the likeliest tokens looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

FIRST_LOOK = 64
"""How many of the likeliest tokens are looked at first; then four times as many, and so on."""


@dataclass(frozen=True)
class Filters:
    """One row's filters: `top_k` 0, `top_p` 1 and `min_p` 0 keep everything."""

    top_k: int
    top_p: float
    min_p: float

    @property
    def cut(self) -> bool:
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0


def draw(scores: torch.Tensor, filters: Sequence[Filters], uniform: torch.Tensor) -> torch.Tensor:
    """Return a token a row, (B,): the one at `uniform` of the kept tokens' cumulative probability, in the vocabulary's order.

    `scores` is (B, V) float32, divided by the temperature, -inf where a token is ruled out; `uniform` is (B,) float64 in [0, 1).
    """
    tokens = torch.empty(len(filters), dtype=torch.long, device=scores.device)
    whole = [i for i, row in enumerate(filters) if not row.cut]
    if whole:
        part = scores if len(whole) == len(filters) else scores[whole]
        tokens[whole] = _invert((part - part.amax(dim=-1, keepdim=True)).exp_(), uniform[whole])
    left, look = [i for i, row in enumerate(filters) if row.cut], FIRST_LOOK
    while left:
        part = scores if len(left) == len(filters) else scores[left]
        found, certain = _among_likeliest(part, [filters[i] for i in left], uniform[left], min(look, part.shape[-1]))
        tokens[left] = found  # what is not certain yet is written again
        left, look = [i for i, sure in zip(left, certain.tolist(), strict=True) if not sure], 4 * look
    return tokens


def _among_likeliest(
    scores: torch.Tensor, filters: Sequence[Filters], uniform: torch.Tensor, look: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the drawn tokens, (B,), and whether the `look` likeliest were enough to tell, (B,)."""
    values, places = scores.topk(look, dim=-1)  # (B, K), falling
    lowest, known = _lowest_kept(scores, values, filters)
    everything = look == scores.shape[-1]
    certain = known & ((values[:, -1] < lowest) | values[:, -1].isneginf()) | everything
    weights = (values - values[:, :1]).exp_().masked_fill_(values < lowest[:, None], 0)
    places, order = places.sort(dim=-1)
    return places.gather(1, _invert(weights.gather(1, order), uniform)[:, None])[:, 0], certain


def _lowest_kept(
    scores: torch.Tensor, values: torch.Tensor, filters: Sequence[Filters]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the lowest score that all filters keep, (B,), and False where `values` are too few for top-p after top-k, (B,)."""
    look, device = values.shape[-1], values.device
    top_k = torch.tensor([row.top_k or scores.shape[-1] for row in filters], device=device)  # (B,)
    kth = values.gather(1, (top_k.clamp(max=look) - 1)[:, None])[:, 0].masked_fill(top_k > look, float("-inf"))
    min_p = torch.tensor([row.min_p for row in filters], device=device)
    lowest = torch.maximum(kth, values[:, 0] + min_p.log())
    known = torch.ones_like(top_k, dtype=torch.bool)
    nucleus = [i for i, row in enumerate(filters) if row.top_p < 1]
    if nucleus:
        top_p = torch.tensor([filters[i].top_p for i in nucleus], device=device, dtype=torch.float64)
        of = values[nucleus]
        probs = (of - of[:, :1]).exp_().masked_fill_(of < kth[nucleus, None], 0).double()
        cut = torch.tensor([filters[i].top_k > 0 for i in nucleus], device=device)
        seen_all = (of[:, -1] < kth[nucleus]) | of[:, -1].isneginf()
        known[nucleus] = ~cut | seen_all
        mass = torch.where(cut, probs.sum(dim=-1), _mass(scores, nucleus))
        kept = (probs.cumsum(dim=-1) - probs < (top_p * mass)[:, None]).sum(dim=-1).clamp(min=1)  # (b,)
        lowest[nucleus] = torch.maximum(lowest[nucleus], of.gather(1, kept[:, None] - 1)[:, 0])
    return lowest, known


def _mass(scores: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
    """Return the sum of exp(score - the row's highest), (b,) float64."""
    part = scores if len(rows) == len(scores) else scores[rows]
    return (part.logsumexp(dim=-1) - part.amax(dim=-1)).double().exp()


def _invert(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Return the place in each row of `weights`, (B, K), where its cumulative share passes `uniform`, (B,); never one of weight 0."""
    total = weights.double().cumsum(dim=-1)  # (B, K)
    end = total[:, -1]
    point = torch.minimum(uniform * end, torch.nextafter(end, torch.zeros_like(end)))
    return torch.searchsorted(total, point[:, None], right=True)[:, 0]
