"""Is a text too near one of a pool? ROUGE-L against every text that is kept, exactly, and fast enough for a pool of any size.

Self-Instruct and Alpaca refuse an instruction whose ROUGE-L F1 with any kept one is above 0.7, by google's rouge-score, which scores every
pair. Here a bound goes first: the longest common subsequence of two texts is at most the number of tokens that they share, counted as
often as both have them, so the F1 is at most 2 x shared / (m + n). An inverted index gives that for the whole pool at once; the few texts
that it leaves are scored exactly. What is refused is the same.
"""

import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

THRESHOLD = 0.7
"""Self-Instruct (arXiv 2212.10560), section 2.2: an instruction is added only where its ROUGE-L with every kept one is less."""

_SLACK = 1e-9  # the bound must not lose what only rounding puts above the threshold
_TOKEN = re.compile(r"[a-z0-9]+|[가-힣ㄱ-ㆎ]|[぀-ヿ]|[㐀-鿿]")


def tokens(text: str) -> list[str]:
    """Return the tokens of `text`: rouge-score's, and beside them what rouge-score drops of Korean, Japanese and Chinese.

    rouge-score lowers the case and keeps the runs of a-z and 0-9, so of a Korean text nothing is left, and two Korean texts are never near.
    Here each Hangul syllable (and kana, and Chinese character) is a token of its own. Words would lose what differs in a particle alone.
    """
    return _TOKEN.findall(unicodedata.normalize("NFC", text.lower()))


def common(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, a row of the table at a time as the bits of one number.

    Hyyrö (2004), «Bit-parallel LCS-length computation revisited»: a bit that is 0 in `row` is a step up in the table's row.
    """
    places: dict[str, int] = {}
    for place, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << place
    everything = (1 << len(first)) - 1
    row = everything
    for token in second:
        matched = row & places.get(token, 0)
        row = ((row + matched) | (row - matched)) & everything
    return len(first) - row.bit_count()


def f1(length: int, first: int, second: int) -> float:
    """Return ROUGE-L's F1 of two texts of `first` and `second` tokens with a common subsequence of `length`.

    The order of the operations is rouge-score's, so that the two agree to the last bit and an F1 of just 0.7 falls on the same side.
    """
    if not length:
        return 0.0
    precision, recall = length / second, length / first
    return 2 * precision * recall / (precision + recall)


class Pool:
    """Texts that are kept, and an index of which tokens are in which."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts: list[list[str]] = []
        self._lengths = array("i")
        self._where: dict[str, tuple[array[int], array[int]]] = {}  # a token: the texts it is in, and how often
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        """Keep `text`."""
        found = tokens(text)
        for token, count in Counter(found).items():
            texts, counts = self._where.setdefault(token, (array("i"), array("i")))
            texts.append(len(self._texts))
            counts.append(count)
        self._texts.append(found)
        self._lengths.append(len(found))

    def near(self, text: str, threshold: float = THRESHOLD) -> int | None:
        """Return the place of the first kept text whose ROUGE-L F1 with `text` is above `threshold`, or None."""
        asked = tokens(text)
        if not asked or not self._texts:
            return None
        for place in self._possible(asked, threshold):
            kept = self._texts[place]
            if f1(common(asked, kept), len(asked), len(kept)) > threshold:
                return int(place)
        return None

    def _possible(self, asked: list[str], threshold: float) -> "np.ndarray":
        """Return the places of the texts that the bound does not rule out, in order."""
        shared = np.zeros(len(self._texts), dtype=np.int32)
        for token, count in Counter(asked).items():
            if token in self._where:
                texts, counts = (np.frombuffer(column, dtype=np.int32) for column in self._where[token])
                shared[texts] += np.minimum(counts, count)  # a text is in a token's list once
        bound = 2 * shared / (len(asked) + np.frombuffer(self._lengths, dtype=np.int32))
        return np.flatnonzero(bound > threshold - _SLACK)
