"""The watch for mode collapse: a policy that found one answer that the reward likes, and says it to everything.

Three signs, each falling before the score does: the entropy of the next token, the share of different token pairs among the answers
(distinct-2; Li et al., arXiv 1510.03055), and what the best of n answers to one prompt scores above their mean (with one answer, nothing).
"""

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from chains.models.scorer import Scorer
from tuning import rollout

N = 4
"""Answers to one prompt whose best is compared with their mean."""
PROMPTS = 8
LOW = 0.25
"""A sign that falls under this share of what it was in the first round is a warning."""
SIGNS = {
    "entropy": "the entropy a token",
    "distinct_2": "the share of different token pairs",
    "best_of_n": "the gain of the best of 4 answers",
}


def best_of_n(engine: Any, scorer: Scorer, prompts: Sequence[list[int]], max_tokens: int, seed: int) -> float:
    """Return how far the best of N answers to a prompt scores above their mean, averaged over the first PROMPTS prompts."""
    asked = [prompt for prompt in prompts[:PROMPTS] for _ in range(N)]
    said = rollout.sample(engine, asked, max_tokens, [seed + i for i in range(len(asked))])
    scores = torch.tensor(scorer.score_ids(said.rows)).view(-1, N)
    return (scores.max(dim=1).values - scores.mean(dim=1)).mean().item()


def watch(signs: dict[str, float], first: dict[str, float]) -> bool:
    """Warn, in a sentence, of the sign that fell the most where it fell too far from `first`; return whether one did."""
    shares = {name: value / first[name] for name, value in signs.items() if first.get(name, 0.0) > 0}
    name = min(shares, key=lambda each: shares[each], default=None)
    if name is None or shares[name] >= LOW:
        return False
    warnings.warn(
        f"the policy may be collapsing onto few answers: {SIGNS[name]} fell to {signs[name]:.3g} from {first[name]:.3g}; "
        "raise kl_coefficient, lower learning_rate, or stop at an earlier round",
        stacklevel=3,
    )
    return True
