"""How near two texts are, 0 to 1, by the measures that OpenAI's text_similarity names.

fuzzy_match is rapidfuzz's ratio, bleu sacrebleu's smoothed sentence BLEU, cosine that of the packaged embeddings. rouge_N (Lin 2004) and gleu
(Wu et al., arXiv 1609.08144, section 5) count n-grams of the tokens that every other ROUGE here counts, Korean syllables included. Each measure's library comes with its first use.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

MOST_GRAM = 4
"""GLEU's longest n-gram."""


def similarity(metric: str, text: str, reference: str) -> float:
    """Return how near `text` is to `reference` by `metric`, 0 to 1."""
    return min(1.0, max(0.0, _METRICS[metric](text, reference)))


def _fuzzy(text: str, reference: str) -> float:
    from rapidfuzz import fuzz

    return float(fuzz.ratio(text, reference)) / 100


def _bleu(text: str, reference: str) -> float:
    import sacrebleu

    return float(sacrebleu.sentence_bleu(text, [reference]).score) / 100


def _cosine(text: str, reference: str) -> float:
    from apps.server.embeddings import embedder

    one, other = embedder(None).embed_documents([text or " ", reference or " "])
    return sum(a * b for a, b in zip(one, other, strict=True))


def _grams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def _gleu(text: str, reference: str) -> float:
    """Return the lesser of precision and recall over all n-grams of 1 to 4 tokens."""
    from tuning.generate import rouge

    made, wanted = rouge.tokens(text), rouge.tokens(reference)
    grams = [(_grams(made, n), _grams(wanted, n)) for n in range(1, MOST_GRAM + 1)]
    shared = sum((one & other).total() for one, other in grams)
    return shared / max(1, *(sum(each.total() for each in side) for side in zip(*grams, strict=True)))


def _rouge_n(n: int, text: str, reference: str) -> float:
    from tuning.generate import rouge

    one, other = _grams(rouge.tokens(text), n), _grams(rouge.tokens(reference), n)
    return rouge.f1((one & other).total(), other.total(), one.total())


def _rouge_l(text: str, reference: str) -> float:
    from tuning.generate import rouge

    one, other = rouge.tokens(text), rouge.tokens(reference)
    return rouge.f1(rouge.common(other, one), len(other), len(one))


_METRICS: dict[str, Callable[[str, str], float]] = {
    "cosine": _cosine, "fuzzy_match": _fuzzy, "bleu": _bleu, "gleu": _gleu, "rouge_l": _rouge_l,
    **{f"rouge_{n}": partial(_rouge_n, n) for n in range(1, 6)},
}  # fmt: skip
