"""How well a reward model's scores agree with a labeler's rankings: the order of pairs, near and far, and whether its certainty is deserved.

Shapes: K answers to a prompt.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

BINS = 10


@dataclass(frozen=True)
class Agreement:
    """A reward model against held-out rankings; ties are no pairs."""

    pairs: int
    accuracy: float
    """Share of pairs in the labeler's order."""
    accuracy_by_distance: dict[int, float]
    """The same by how many ranks lie between the two: answers far apart are easier."""
    best: float
    """Share of prompts whose best-scored answer is one that the labeler put first."""
    calibration_error: float
    """Expected gap between sigma(|r_i - r_j|) and the share that is right at that certainty: Guo et al. (arXiv 1706.04599) Eq. 3."""

    def facts(self) -> dict[str, Any]:
        """Return what `meta.json` says."""
        return {
            "held_out_pairs": self.pairs,
            "held_out_pair_accuracy": self.accuracy,
            "held_out_accuracy_by_distance": {str(d): share for d, share in self.accuracy_by_distance.items()},
            "held_out_best_agreement": self.best,
            "held_out_calibration_error": self.calibration_error,
        }


def measure(scores: Sequence[torch.Tensor], ranks: Sequence[torch.Tensor]) -> Agreement:
    """Return the agreement of each prompt's `scores` (K,) with its `ranks` (K,), 1 the best."""
    found = [pair for s, r in zip(scores, ranks, strict=True) for pair in _pairs(s, r)]
    by_distance: dict[int, list[bool]] = defaultdict(list)
    for gap, distance in found:
        by_distance[distance].append(gap > 0)
    first = [bool(r[s.argmax()] == r.min()) for s, r in zip(scores, ranks, strict=True)]
    return Agreement(
        pairs=len(found),
        accuracy=_share([gap > 0 for gap, _ in found]),
        accuracy_by_distance={distance: _share(by_distance[distance]) for distance in sorted(by_distance)},
        best=_share(first),
        calibration_error=calibration_error([gap for gap, _ in found]),
    )


def _pairs(scores: torch.Tensor, ranks: torch.Tensor) -> list[tuple[float, int]]:
    """Return (score of the better minus that of the worse, ranks between them) of every untied pair; ranks that are left out do not count."""
    places = {rank: place for place, rank in enumerate(sorted(set(ranks.tolist())))}
    answers = [(score, places[rank]) for score, rank in zip(scores.tolist(), ranks.tolist(), strict=True)]
    return [(a - b, low - high) for a, high in answers for b, low in answers if high < low]


def calibration_error(gaps: Sequence[float]) -> float:
    """Return the expected calibration error of pairs whose better answer scores `gaps` above the worse: certainties in ten bins from 1/2 to 1."""
    bins: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for gap in gaps:
        certainty = 1 / (1 + math.exp(-min(abs(gap), 700.0)))
        bins[min(BINS - 1, int((certainty - 0.5) * 2 * BINS))].append((certainty, gap > 0))
    off = [abs(sum(c for c, _ in seen) - sum(right for _, right in seen)) for seen in bins.values()]
    return sum(off) / len(gaps) if gaps else math.nan


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right) if right else math.nan
