"""Exact match and F1 of an answer against reference answers, as SQuAD and KorQuAD count them; chains/measures.py has the stricter ones.

A reference with Hangul in it is compared KorQuAD's way, any other SQuAD's; of several references the best counts.

- SQuAD (arXiv 1606.05250, section 6.1, and its script evaluate-v1.1): in lower case, without ASCII punctuation and the articles a, an and
  the; F1 over words.
- KorQuAD 1.0 (its script evaluate-v1.0): quotation marks and brackets, Korean ones too, become spaces, articles stay, and F1 is over
  characters, those of all words together, since particles are glued to Korean words.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

_HANGUL = re.compile(r"[가-힣ㄱ-ㅎㅏ-ㅣ]")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_MARKS = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def span_exact(answer: str, references: Sequence[str]) -> bool:
    """Return whether the answer is one of the references."""
    return any(_words(answer, reference) == _words(reference, reference) for reference in references)


def span_f1(answer: str, references: Sequence[str]) -> float:
    """Return the best F1, from 0 to 1; where either has nothing to compare, 1 if neither has. Raises ValueError without references."""
    return max(_f1(_units(answer, reference), _units(reference, reference)) for reference in references)


def _f1(said: Sequence[str], wanted: Sequence[str]) -> float:
    if not said or not wanted:
        return float(said == wanted)
    common = (Counter(said) & Counter(wanted)).total()
    return 2 * common / (len(said) + len(wanted))


def _units(text: str, reference: str) -> list[str]:
    """Return what is counted of `text`: characters beside a Korean reference, else words."""
    words = _words(text, reference)
    return list("".join(words)) if _korean(reference) else words


def _words(text: str, reference: str) -> list[str]:
    text = unicodedata.normalize("NFC", text)
    if _korean(reference):
        return text.translate(_MARKS).lower().translate(_PUNCTUATION).split()
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _korean(text: str) -> bool:
    return bool(_HANGUL.search(unicodedata.normalize("NFC", text)))
