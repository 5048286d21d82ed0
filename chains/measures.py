"""How near an answer is to a reference: the same text but for trifles (exact), or the share of common words (F1)."""

import unicodedata
from collections import Counter

_ENDINGS = ".!?。！？…"


def normalise(text: str) -> str:
    """Return `text` in NFC, its case folded, runs of whitespace as one space, and no punctuation at its end."""
    words = unicodedata.normalize("NFC", text).casefold().split()
    return " ".join(words).rstrip(_ENDINGS + " ")


def exact(answer: str, reference: str) -> bool:
    """Return whether the two are the same after `normalise`."""
    return normalise(answer) == normalise(reference)


def f1(answer: str, reference: str) -> float:
    """Return the F1 of the two's words, from 0 to 1: the harmonic mean of the shares of each one's words that the other has too.

    A word is what stands between spaces after `normalise`, in Korean too, and counts as often as it comes (SQuAD, arXiv 1606.05250,
    section 6.1, which also drops articles and all punctuation; here they stay). Where either has no words, 1 if neither has.
    """
    said, wanted = Counter(normalise(answer).split()), Counter(normalise(reference).split())
    if not said or not wanted:
        return float(said == wanted)
    return 2 * (said & wanted).total() / (said.total() + wanted.total())
