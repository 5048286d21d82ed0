"""How well a model answers from a library: its answers against right ones, and its citations against where the answer stands.

A row of the questions' file, JSONL:

    {"question": "How long is half-time?", "answer": "Seven minutes.", "evidence": [{"source": "rules.md", "quote": "seven minutes"}]}

`answer` may be a list, any of which is right; "" says that the documents do not tell. `evidence` may be left out, and a piece of it without a
quote is its whole source. A citation is right where it shares a character with a piece of evidence, and a piece is found where a
citation shares one with it (ALCE, arXiv 2305.14627, asks the same two questions of a model's judgement of each citation; here places answer).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chains.errors import UsageError
from chains.span_measures import span_exact, span_f1
from tuning.lines import lines

if TYPE_CHECKING:
    from chains.citations import Citation
    from chains.retrieval_chain import RetrievalChain

_SHOWN = '{"question": "…", "answer": "…", "evidence": [{"source": "…", "quote": "…"}]}'
_TOGETHER = 16  # questions that a chain is given at a time


@dataclass(frozen=True)
class Place:
    """A piece of evidence: text[start:end] of a source."""

    source: str
    start: int
    end: int


@dataclass(frozen=True)
class Question:
    """A row of the file: `answers` are the right ones, none where the documents do not tell; `evidence` is None where it is not known."""

    question: str
    answers: tuple[str, ...]
    evidence: tuple[Place, ...] | None


@dataclass(frozen=True)
class Scores:
    """One answer's figures, each from 0 to 1; None where there is nothing to count: no citation, or no known evidence."""

    exact: float
    f1: float
    citation_precision: float | None
    citation_recall: float | None
    support: float


def read(path: str | Path, library: Any) -> list[Question]:
    """Return the questions of a file. Raises UsageError, naming file and line, on what is no question or quotes what `library` has not."""
    texts = {source.source: library.text(source.source) for source in library.sources()}
    found = []
    for line in lines(path):
        found.append(_question(line.row(), texts, f"{path}:{line.number}"))
    if not found:
        raise UsageError(f"{path} has no questions; give one on each line: {_SHOWN}")
    return found


def score(question: Question, made: Mapping[str, Any], told: bool) -> Scores:
    """Return the figures of what a RetrievalChain made; `told` says whether it is an answer, or that the documents do not tell."""
    answer = made["answer"] if told else ""
    references = question.answers or ("",)
    precision, recall = _cited(made["citations"], question.evidence)
    return Scores(
        float(span_exact(answer, references)), span_f1(answer, references), precision, recall, float(made["support"])
    )


def measure(
    chain: "RetrievalChain", questions: Sequence[Question], progress: Callable[[int, int, str], None] | None = None
) -> list[Scores]:
    """Return the figures of the chain's answer to every question."""
    from chains.retrieval_chain import says_nothing

    found: list[Scores] = []
    for first in range(0, len(questions), _TOGETHER):
        asked = questions[first : first + _TOGETHER]
        made = chain.batch([{"question": one.question} for one in asked])
        found += [score(one, its, not says_nothing(its["answer"])) for one, its in zip(asked, made, strict=True)]
        if progress:
            progress(len(found), len(questions), "ask")
    return found


def means(scores: Sequence[Scores]) -> dict[str, float | None]:
    """Return each figure's mean over the answers that have it, None where none has."""
    columns = {name: [getattr(one, name) for one in scores] for name in Scores.__dataclass_fields__}
    counted = {name: [value for value in values if value is not None] for name, values in columns.items()}
    return {name: sum(values) / len(values) if values else None for name, values in counted.items()}


def _cited(citations: "Sequence[Citation]", evidence: tuple[Place, ...] | None) -> tuple[float | None, float | None]:
    """Return the share of the citations that are right, and the share of the evidence that is cited."""
    if evidence is None:
        return None, None
    right = [any(_meet(citation, place) for place in evidence) for citation in citations]
    cited = [any(_meet(citation, place) for citation in citations) for place in evidence]
    return (sum(right) / len(right) if right else None), (sum(cited) / len(cited) if cited else None)


def _meet(citation: "Citation", place: Place) -> bool:
    return citation.source == place.source and citation.start < place.end and place.start < citation.end


def _question(row: Mapping[str, Any], texts: Mapping[str, str], where: str) -> Question:
    question = row.get("question")
    if not isinstance(question, str) or not question.strip():
        raise UsageError(f"{where}: question is {question!r}; expected {_SHOWN}")
    given = row.get("answer")
    listed = given if isinstance(given, list) else [given]
    answers = [answer for answer in listed if isinstance(answer, str)]
    if not answers or len(answers) < len(listed):
        raise UsageError(f"{where}: answer is {given!r}; give a text, or a list of texts any of which is right")
    evidence = row.get("evidence")
    if evidence is not None and not isinstance(evidence, list):
        raise UsageError(f"{where}: evidence is {evidence!r}; expected {_SHOWN}")
    places = None if evidence is None else tuple(_place(piece, texts, where) for piece in evidence)
    return Question(question, tuple(answer for answer in answers if answer.strip()), places)


def _place(piece: Any, texts: Mapping[str, str], where: str) -> Place:
    source = piece.get("source") if isinstance(piece, dict) else None
    if not isinstance(source, str) or source not in texts:
        raise UsageError(f"{where}: evidence is from {source!r}, which the library does not have")
    quote = piece.get("quote")
    if quote is None:
        return Place(source, 0, len(texts[source]))
    start = texts[source].find(quote) if isinstance(quote, str) and quote else -1
    if start < 0:
        raise UsageError(
            f"{where}: {source} does not hold the quote {quote!r}; give words that stand in it as they are"
        )
    return Place(source, start, start + len(quote))
