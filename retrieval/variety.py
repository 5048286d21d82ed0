"""Passages that answer and differ: maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998, Eq. 1).

    next = argmax over what is left of  balance · relevance - (1 - balance) · likeness to the nearest one chosen

Relevance is the search's score, brought to 0 to 1 over the candidates; likeness is the cosine of the passages' term counts, which needs no
vectors, so that it holds in every mode and language.
"""

import math
from collections import Counter
from collections.abc import Sequence

LEAST = 20  # candidates that are chosen among, or four times as many as are wanted


def chosen(scores: Sequence[float], terms: Sequence[Sequence[str]], k: int, balance: float) -> list[int]:
    """Return the places of at most `k` candidates in the order of their choice; `scores` fall. `balance` 1 keeps their order."""
    counts = [Counter(one) for one in terms]
    span = (scores[0] - scores[-1]) or 1.0 if scores else 1.0
    relevance = [(score - scores[-1]) / span for score in scores]
    likeness = [0.0] * len(counts)
    left, taken = list(range(len(counts))), list[int]()
    while left and len(taken) < k:
        best = max(left, key=lambda place: balance * relevance[place] - (1 - balance) * likeness[place])
        left.remove(best)
        taken.append(best)
        for place in left:
            likeness[place] = max(likeness[place], _cosine(counts[place], counts[best]))
    return taken


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    both = sum(count * other[term] for term, count in one.items() if term in other)
    return both / (math.hypot(*one.values()) * math.hypot(*other.values())) if both else 0.0
