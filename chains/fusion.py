"""Several rankings made one, by the ranks alone: reciprocal rank fusion (Cormack, Clarke & Büttcher, 2009), with weights.

score = Σ weight · 1 / (60 + rank)  /  Σ weight · 1 / 61

The sum is over the rankings, ranks count from 1, and 60 is the constant of its authors. What is not in a ranking gets nothing from it. The
divisor makes 1 the score of what is first in every ranking; it changes no order.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

_CONSTANT = 60
T = TypeVar("T")


def fused(rankings: Sequence[Iterable[T]], weights: Sequence[float] | None = None) -> dict[T, float]:
    """Return the score of everything that is ranked, best first; of equal ones, what an earlier ranking has first."""
    own = [1.0] * len(rankings) if weights is None else weights
    most = sum(own) / (_CONSTANT + 1)
    scores: dict[T, float] = {}
    for ranking, weight in zip(rankings, own, strict=True):
        for rank, one in enumerate(ranking if weight else (), 1):
            scores[one] = scores.get(one, 0.0) + weight / (_CONSTANT + rank) / most
    return dict(sorted(scores.items(), key=lambda pair: -pair[1]))
