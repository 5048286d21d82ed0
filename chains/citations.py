"""Which sentences of the passages speak for an answer: a citation's quote is taken from the source, never from the model.

The score of a sentence is how much of the question and the answer it holds. Both are cut into character pairs within words, which
serves Korean (its endings change, its stems do not) as it does English; a pair weighs log(1 + N/n), for N sentences of which n hold it,
so what every sentence says weighs little.

    score = 0.6 · overlap(answer) + 0.3 · overlap(question) + 0.1 / rank
    overlap(A) = 2 · w(A ∩ sentence) / (w(A) + w(sentence))    the weighted Dice coefficient, 0 to 1

where `rank` is the retriever's place of the passage, from 1. What is not at least half as good as the best is left out.
That a quote is verbatim does not make it proof: the score says how near it is to the answer, not that the answer is true.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from langchain_core.documents import Document

from chains.passages import END, HEADING, PAGE, SOURCE, START
from chains.sentences import sentences

_LEAST = 0.05  # without the rank's share: below this a sentence has nothing to do with the question or the answer
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Citation:
    """A sentence of a source: its text is `source_text[start:end] == quote`."""

    source: str
    start: int
    end: int
    quote: str
    page: int | None
    heading: str | None
    score: float


def cite(question: str, answer: str, passages: Sequence[Document], most: int = 3) -> list[Citation]:
    """Return the quotes that speak best for `answer`, at most `most`, best first.

    `passages` are in the retriever's order. One whose START and END do not fit its text is not quoted, since its offsets would lie.
    """
    best: dict[tuple[str, int, int], Citation] = {}
    for quote, near in _near(question, answer, passages, _sentences(passages)):
        if near >= _LEAST:  # passages may overlap: of a sentence that is in two, the better-ranked one comes first
            best.setdefault((quote.source, quote.start, quote.end), quote)
    ranked = sorted(best.values(), key=lambda quote: -quote.score)
    return [quote for quote in ranked[:most] if quote.score >= ranked[0].score / 2]


def scored(
    question: str, answer: str, passages: Sequence[Document], quotes: Iterable[tuple[int, Citation]]
) -> list[Citation]:
    """Return quotes of the passages, which come with their passage's rank, with their scores; of the same place the first."""
    best: dict[tuple[str, int, int], Citation] = {}
    for quote, _ in _near(question, answer, passages, quotes):
        best.setdefault((quote.source, quote.start, quote.end), quote)
    return list(best.values())


def support(answer: str, citations: Sequence[Citation]) -> float:
    """Return the share of the answer's character pairs that stand in the quotes, from 0 to 1.

    It says how much of the answer is there in so many words: a number, not a proof, and apart from whether the quotes are verbatim.
    """
    said = _pairs(answer)
    quoted = set().union(*(_pairs(citation.quote) for citation in citations))
    return len(said & quoted) / len(said) if said else 0.0


def _near(
    question: str, answer: str, passages: Sequence[Document], quotes: Iterable[tuple[int, Citation]]
) -> Iterator[tuple[Citation, float]]:
    """Yield each quote with its score, and how near it is to question and answer, without the rank's share."""
    weigh = _weights([_pairs(quote.quote) for _, quote in _sentences(passages)])
    asked, answered = _pairs(question), _pairs(answer)
    for rank, quote in quotes:
        part = _pairs(quote.quote)
        near = 0.6 * _overlap(answered, part, weigh) + 0.3 * _overlap(asked, part, weigh)
        yield replace(quote, score=near + 0.1 / rank), near


def _sentences(passages: Sequence[Document]) -> Iterator[tuple[int, Citation]]:
    """Yield each sentence of the passages with the rank of its passage; its score is still to be given."""
    for rank, passage in enumerate(passages, 1):
        about, text = passage.metadata, passage.page_content
        base = about.get(START, 0)
        if about.get(END, base + len(text)) != base + len(text):
            continue
        for start, end in sentences(text):
            source = str(about.get(SOURCE) or f"passage {rank}")
            yield (
                rank,
                Citation(source, base + start, base + end, text[start:end], about.get(PAGE), about.get(HEADING), 0.0),
            )


def _pairs(text: str) -> set[str]:
    """Return the character pairs within the words of `text`; a word of one character counts as it is."""
    words = _WORD.findall(unicodedata.normalize("NFC", text).casefold())
    return {word[i : i + 2] for word in words for i in range(max(1, len(word) - 1))}


def _weights(parts: Sequence[set[str]]) -> Callable[[set[str]], float]:
    holders = Counter(pair for part in parts for pair in part)

    def weigh(pairs: set[str]) -> float:
        return sum(math.log(1 + len(parts) / holders.get(pair, 1)) for pair in pairs)

    return weigh


def _overlap(wanted: set[str], part: set[str], weigh: Callable[[set[str]], float]) -> float:
    whole = weigh(wanted) + weigh(part)
    return 2 * weigh(wanted & part) / whole if whole else 0.0
