"""A question's passages, best first: by words, by meaning, or by both.

    hybrid score = KEYWORD_WEIGHT · z(keyword score) + z(cosine)

where z(x) = (x - mean) / deviation over the best candidates of that way of finding (100, or 2k), so that one rare word that stands in a single
passage counts for much, and common words that stand in all of them count for little, whatever the scale of a model's cosines. A passage
that is not among the candidates by meaning, or has no vector, counts as average there.
What KEYWORD_WEIGHT was chosen on is not on record, so its figure below on Cranfield is not one of held-out data.
Measured (`python -m tests.bench.retrieval`) against reciprocal rank fusion with its usual constant, 60: English rulebook, right article
first 0.86 (0.78); Cranfield nDCG@10 0.397 (0.406); a part number asked for, right document first 0.67 (0.08).

Where the embedding model does not know the question's language, its vectors would be noise: they are left out, and `why` says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from chains.errors import UsageError, nearest
from chains.passages import END, HEADING, PAGE, SOURCE, START
from retrieval.keywords import Keywords
from retrieval.parents import widened
from retrieval.prepare import covers
from retrieval.store import Row, Store
from retrieval.text import clean
from retrieval.variety import LEAST, chosen
from retrieval.vectors import Vectors

MODES = ("hybrid", "dense", "keyword")
KEYWORD_WEIGHT = 0.35
_DEPTH = 100  # candidates of each way of finding
_FEW = 5000  # passages that `where` leaves and that are compared one by one
_COLUMNS = {SOURCE: "source", HEADING: "heading", PAGE: "page"}  # what `where` may name


@dataclass(frozen=True)
class Passage:
    """A passage that was found. `metadata` has the keys of chains/passages.py, and `why` is its rank in each way of finding.

    `scores` are those ways' own, where they found it: 'keyword' the share of the question that it holds, 'dense' the cosine.
    """

    text: str
    score: float
    metadata: dict[str, Any]
    why: str
    scores: dict[str, float] = field(default_factory=dict)


class Ranking(NamedTuple):
    """What one way of finding found: passages' ids with their scores, best first, and what a reader should know of it."""

    way: str
    scores: dict[int, float]
    note: str = ""


class Searcher:
    """The ways of finding in one library."""

    def __init__(self, store: Store, vectors: Vectors, keywords: Callable[[], Keywords], embeddings: Any) -> None:
        self._store = store
        self._vectors = vectors
        self._keywords = keywords
        self._embeddings = embeddings

    def search(
        self,
        query: str,
        k: int,
        mode: str,
        where: Mapping[str, Any] | None,
        mmr: float | None = None,
        parents: bool = False,
    ) -> list[Passage]:
        """Return at most `k` passages. Raises UsageError on a call that cannot be meant."""
        check(k, mode, where or {}, mmr)
        query = clean(query).strip()
        if not query:
            raise UsageError("the question is empty; give the words to look for")
        among = self._among({key: _values(value) for key, value in (where or {}).items()})
        depth = min(max(_DEPTH, 2 * k), among.total)
        rankings = []
        if mode != "dense":
            rankings.append(self._by_words(query, depth, among))
        if mode != "keyword":
            rankings.append(self._by_meaning(query, depth, among))
        if mode == "dense" and rankings[0].note:
            raise UsageError(f"dense search is {rankings[0].note}; use mode='hybrid' or 'keyword'")
        first, last = rankings[0].scores, rankings[-1].scores
        scores = fused(first, last, depth) if mode == "hybrid" else first
        ids = sorted(scores, key=lambda id: -scores[id])
        rows = (self._store.passage(id) for id in (ids if mmr is None else self._varied(ids, scores, k, mmr)))
        found = (row for row in rows if row is not None)  # None: deleted while we looked
        wanted = widened(self._store, found) if parents else found
        return [_passage(row, scores[row.id], rankings) for row in islice(wanted, k)]

    def _varied(self, ids: Sequence[int], scores: Mapping[int, float], k: int, balance: float) -> list[int]:
        """Return the ids of `k` passages that differ, of the best ones."""
        best = ids[: max(LEAST, 4 * k)]
        rows = (self._store.rows("SELECT terms FROM passages WHERE id = ?", (id,)) for id in best)
        terms = [row[0][0].split() if row else [] for row in rows]
        return [best[place] for place in chosen([scores[id] for id in best], terms, k, balance)]

    def _by_words(self, query: str, depth: int, among: "_Among") -> Ranking:
        keywords = self._keywords()
        asked = keywords.query(query)
        note = ", ".join(f"{word} for {missing}" for missing, word in asked.stand_ins.items())
        return Ranking("keyword", dict(keywords.search(asked, depth, among.ids)), note)

    def _by_meaning(self, query: str, depth: int, among: "_Among") -> Ranking:
        if not covers(self._embeddings, query):
            return Ranking("dense", {}, f"left out: {self._store.embeddings()} does not know this language")
        if not among.total or not self._store.rows("SELECT 1 FROM passages WHERE embedded LIMIT 1"):
            return Ranking("dense", {})
        if not self._vectors.exists:
            return Ranking("dense", {}, "left out: its vectors are gone, and a sync makes them again")
        vector = self._embeddings.embed_query(query)
        few = among.ids is not None and among.total <= _FEW
        found = self._vectors.nearest(vector, depth, _for_chroma(among.conditions), few, self._store.state())
        return Ranking("dense", dict(found))

    def _among(self, conditions: dict[str, list[Any]]) -> "_Among":
        """Return the passages that fit the conditions."""
        if not conditions:
            ((count,),) = self._store.rows("SELECT count(*) FROM passages")
            return _Among(conditions, None, count)
        tests = [f"{_COLUMNS[key]} IN ({', '.join('?' * len(values))})" for key, values in conditions.items()]
        sql = f"SELECT passages.id FROM passages JOIN sources ON sources.id = source_id WHERE {' AND '.join(tests)}"
        rows = self._store.rows(sql, [value for values in conditions.values() for value in values])
        return _Among(conditions, np.fromiter((id for (id,) in rows), dtype=np.int64, count=len(rows)), len(rows))


class _Among(NamedTuple):
    """The passages that are looked among: `ids` is None for all of them."""

    conditions: dict[str, list[Any]]
    ids: np.ndarray | None
    total: int


def fused(keyword: Mapping[int, float], dense: Mapping[int, float], candidates: int) -> dict[int, float]:
    """Return the hybrid score of every passage that either way found; the equation stands above.

    `candidates` is how many each way looked for: where fewer hold a word of the question, the others are known to score 0.
    """
    if not dense:
        return dict(keyword)
    in_words = _standard([*keyword.values(), *[0.0] * (candidates - len(keyword))])
    in_meaning = _standard(list(dense.values()))
    scores = {id: in_meaning(cosine) for id, cosine in dense.items()}
    for id in {**dense, **keyword}:
        scores[id] = scores.get(id, 0.0) + KEYWORD_WEIGHT * in_words(keyword.get(id, 0.0))
    return scores


def _standard(scores: list[float]) -> Callable[[float], float]:
    """Return what tells how many standard deviations a score is above the mean of `scores`."""
    mean, deviation = float(np.mean(scores)), float(np.std(scores))
    return lambda score: (score - mean) / deviation if deviation else 0.0


def check(k: int, mode: str, where: Mapping[str, Any], mmr: float | None = None) -> None:
    """Raise UsageError on a number, a mode or a condition that cannot be meant."""
    if mmr is not None and not 0 <= mmr <= 1:
        raise UsageError(f"mmr is {mmr}; give a number from 0 (variety alone) to 1 (relevance alone)")
    if mode not in MODES:
        raise UsageError(f"mode {mode!r} is unknown; use {', '.join(MODES)}{nearest(mode, MODES)}")
    if k < 1:
        raise UsageError(f"k is {k}; give the number of passages that are wanted, 1 or more")
    for key, value in where.items():
        if key not in _COLUMNS:
            raise UsageError(f"where has {key!r}; passages are chosen by {', '.join(_COLUMNS)}{nearest(key, _COLUMNS)}")
        if not all(isinstance(one, str | int) for one in _values(value)):
            raise UsageError(f"where has {value!r} for {key}; give a value, or a list of values any of which will do")


def _values(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set) else [value]


def _for_chroma(conditions: dict[str, list[Any]]) -> dict[str, Any] | None:
    tests: list[dict[str, Any]] = [{key: {"$in": values}} for key, values in conditions.items()]
    return None if not tests else tests[0] if len(tests) == 1 else {"$and": tests}


def _passage(row: Row, score: float, rankings: Sequence[Ranking]) -> Passage:
    about: dict[str, Any] = {SOURCE: row.source, START: row.start, END: row.end}
    if row.heading:
        about[HEADING] = row.heading
    if row.page is not None:
        about[PAGE] = row.page
    own = {ranking.way: ranking.scores[row.id] for ranking in rankings if row.id in ranking.scores}
    return Passage(row.text, score, about, _why(row.id, rankings), own)


def _why(id: int, rankings: Sequence[Ranking]) -> str:
    """Return the passage's rank in each way of finding, with the way's note: "keyword 1 (색 for 색상), dense –"."""
    return ", ".join(_rank(id, ranking) for ranking in rankings)


def _rank(id: int, ranking: Ranking) -> str:
    if ranking.note and not ranking.scores:
        return f"{ranking.way} {ranking.note}"
    place = list(ranking.scores).index(id) + 1 if id in ranking.scores else "–"
    return f"{ranking.way} {place} ({ranking.note})" if ranking.note else f"{ranking.way} {place}"
