"""A question's passages, best first: by words, by meaning, or by both.

A hybrid search fuses the ways' rankings by their ranks (chains/fusion.py), meaning at 0.7 and words at 0.3 unless the caller weighs them
otherwise: the default of Weaviate's hybrid search (its alpha; docs.haystack.deepset.ai/docs/weaviatehybridretriever). A question that names a
code (XK-1042) has a third ranking, `code`: the passages that hold it, since to an embedding model one number is like another. It weighs
as much as the heavier of the two, so that what is first by words and has the code is first.

Cranfield nDCG@10 0.4262 (by meaning alone 0.4009, by words alone 0.3804), the right article of the English rulebook first 0.83, among six
0.98. The weights were compared when of English words only the inflections were taken off: at 0.3 to 0.7 Cranfield 0.4204 and the rulebook
0.82 and 0.98; at 1:1 0.4246, 0.75 and 0.95; at 1:2 0.4227, 0.81 and 0.98; at 1:3 0.4195, 0.84 and 0.98. Equal weights, the first choice,
were given up for the rulebook.

Where the embedding model does not know the question's language, its vectors would be noise: they are left out, and `why` says so. So
they are for a question that mixes scripts (IBM의 CPU) in a library that holds passages in the one which the model does not know.
With `rerank` a cross-encoder reads the question together with each of the best passages, and its order is the one that counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from chains.errors import UsageError, nearest
from chains.fusion import fused
from chains.passages import END, HEADING, PAGE, SOURCE, START
from retrieval import words
from retrieval.keywords import Keywords
from retrieval.parents import widened
from retrieval.prepare import covers, embedded_text
from retrieval.rerank import Reranker
from retrieval.store import Row, Store
from retrieval.text import clean
from retrieval.variety import LEAST, chosen
from retrieval.vectors import Vectors

MODES = ("hybrid", "dense", "keyword")
WEIGHTS = {"keyword": 0.3, "dense": 0.7}  # of the ways of a hybrid search
_RERANKED = 50  # passages that a cross-encoder reads, unless more are asked for
_DEPTH = 100  # candidates of each way of finding
_FEW = 5000  # passages that `where` leaves and that are compared one by one
_COLUMNS = {SOURCE: "source", HEADING: "heading", PAGE: "page"}  # what `where` may name


@dataclass(frozen=True)
class Passage:
    """A passage that was found. `metadata` has the keys of chains/passages.py, and `why` is its rank in each way of finding.

    `scores` are those ways' own, where they found it: 'keyword' the share of the question that it holds, 'dense' the cosine, 'code' 1 where
    it holds a code that is asked for, 'rerank' what the cross-encoder says.
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


@dataclass(frozen=True)
class Wanted:
    """What a search is to give; Library.search says what each part means. Raises UsageError on what cannot be meant."""

    k: int = 6
    mode: str = "hybrid"
    where: Mapping[str, Any] = field(default_factory=dict)
    mmr: float | None = None
    parents: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)
    rerank: Reranker | None = None

    def __post_init__(self) -> None:
        check(self.k, self.mode, self.where, self.mmr)
        check_weights(self.weights, self.mode)

    def weighed(self) -> dict[str, float]:
        """Return what each ranking of a hybrid search counts for; nothing in another mode."""
        own = {**WEIGHTS, **self.weights}
        return {**own, "code": max(own.values())} if self.mode == "hybrid" else {}


class Searcher:
    """The ways of finding in one library."""

    def __init__(self, store: Store, vectors: Vectors, keywords: Callable[[], Keywords], embeddings: Any) -> None:
        self._store = store
        self._vectors = vectors
        self._keywords = keywords
        self._embeddings = embeddings

    def search(self, query: str, wanted: Wanted) -> list[Passage]:
        """Return at most `wanted.k` passages. Raises UsageError on an empty question, or a dense search that cannot be."""
        query = clean(query).strip()
        if not query:
            raise UsageError("the question is empty; give the words to look for")
        rankings = self._rankings(query, wanted)
        weights = (
            wanted.weighed() if sum(bool(ranking.scores) for ranking in rankings) > 1 else {}
        )  # one alone weighs nothing
        scores = _fused(rankings, weights) if wanted.mode == "hybrid" else rankings[0].scores
        if wanted.rerank is not None:
            reranked = self._by_reading(query, scores, wanted.rerank, wanted.k)
            rankings, scores = [reranked, *rankings], reranked.scores
        ids = sorted(scores, key=lambda id: -scores[id])
        best = ids if wanted.mmr is None else self._varied(ids, scores, wanted.k, wanted.mmr)
        found = (row for id in best if (row := self._store.passage(id)) is not None)  # None: deleted while we looked
        rows = widened(self._store, found) if wanted.parents else found
        return [_found(row, scores[row.id], rankings, weights) for row in islice(rows, wanted.k)]

    def _rankings(self, query: str, wanted: Wanted) -> list[Ranking]:
        """Return what each way of finding that the mode uses has found."""
        among = self._among({key: _values(value) for key, value in wanted.where.items()})
        depth = min(max(_DEPTH, 2 * wanted.k), among.total)
        if wanted.mode == "dense":
            found = self._by_meaning(query, depth, among)
            if found.note:
                raise UsageError(f"dense search is {found.note}; use mode='hybrid' or 'keyword'")
            return [found]
        by_words = self._by_words(query, depth, among)
        if wanted.mode == "keyword":
            return [by_words]
        by_code = self._by_code(query, by_words)
        dense = self._half_known(query) or self._by_meaning(query, depth, among)
        return [*([by_code] if by_code.scores else []), by_words, dense]

    def _half_known(self, query: str) -> Ranking | None:
        """Return an empty ranking where the model can neither read all of the question nor see all of the passages; else None.

        Its vectors would rank the few passages that have one above those that the rest of the question is about.
        """
        if all(covers(self._embeddings, run) for run in words.scripts(query)):
            return None
        if not self._store.rows("SELECT 1 FROM passages WHERE NOT embedded LIMIT 1"):
            return None
        return Ranking("dense", {}, f"left out: {self._store.embeddings()} does not know this language")

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

    def _by_code(self, query: str, by_words: Ranking) -> Ranking:
        """Return those of the passages found by words that hold a code of the question, in their order."""
        asked = words.codes(query)
        texts = ((id, self._store.passage(id)) for id in by_words.scores) if asked else ()
        return Ranking("code", {id: 1.0 for id, row in texts if row is not None and asked & words.codes(row.text)})

    def _by_reading(self, query: str, scores: Mapping[int, float], reranker: Reranker, k: int) -> Ranking:
        """Return what a cross-encoder says of the best passages."""
        best = sorted(scores, key=lambda id: -scores[id])[: max(_RERANKED, 2 * k)]
        rows = [row for id in best if (row := self._store.passage(id)) is not None]
        said = reranker.scores(query, [embedded_text(row.text, row.heading) for row in rows])
        order = sorted(zip(said, rows, strict=True), key=lambda pair: -pair[0])
        return Ranking("rerank", {row.id: score for score, row in order})

    def _by_meaning(self, query: str, depth: int, among: "_Among") -> Ranking:
        if not covers(self._embeddings, query):
            return Ranking("dense", {}, f"left out: {self._store.embeddings()} does not know this language")
        if not among.total or not self._store.rows("SELECT 1 FROM passages WHERE embedded AND NOT picture LIMIT 1"):
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


def _fused(rankings: Sequence[Ranking], weights: Mapping[str, float]) -> dict[int, float]:
    """Return the hybrid score of every passage that any way found. A way that found nothing has no part in it."""
    ways = [ranking for ranking in rankings if ranking.scores]
    return fused([ranking.scores for ranking in ways], [weights.get(ranking.way, 1.0) for ranking in ways])


def check_weights(weights: Mapping[str, float], mode: str) -> None:
    """Raise UsageError on weights that cannot be meant."""
    for way, weight in weights.items():
        if way not in WEIGHTS:
            raise UsageError(f"weights has {way!r}; give numbers for {' and '.join(WEIGHTS)}{nearest(way, WEIGHTS)}")
        if not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise UsageError(f"the weight of {way} is {weight!r}; give a number of at least 0")
    if weights and mode != "hybrid":
        raise UsageError(f"weights are of hybrid search, and the mode is {mode!r}; leave one of them out")
    if weights and not any({**WEIGHTS, **weights}.values()):
        raise UsageError("all weights are 0; give one of them a number above 0")


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


def _found(row: Row, score: float, rankings: Sequence[Ranking], weights: Mapping[str, float]) -> Passage:
    own = {ranking.way: ranking.scores[row.id] for ranking in rankings if row.id in ranking.scores}
    return passage(row, score, _why(row.id, rankings, weights), own)


def passage(row: Row, score: float, why: str, scores: dict[str, float]) -> Passage:
    """Return what is said of a row of the store that was found."""
    about: dict[str, Any] = {SOURCE: row.source, START: row.start, END: row.end}
    if row.heading:
        about[HEADING] = row.heading
    if row.page is not None:
        about[PAGE] = row.page
    return Passage(row.text, score, about, why, scores)


def _why(id: int, rankings: Sequence[Ranking], weights: Mapping[str, float]) -> str:
    """Return the passage's rank in each ranking, with what that weighs, and its note: "0.3 × keyword 1 (색 for 색상), 0.7 × dense –"."""
    return ", ".join(_weight(ranking, weights) + _rank(id, ranking) for ranking in rankings)


def _weight(ranking: Ranking, weights: Mapping[str, float]) -> str:
    return f"{weights[ranking.way]:g} × " if ranking.way in weights and ranking.scores else ""


def _rank(id: int, ranking: Ranking) -> str:
    if ranking.note and not ranking.scores:
        return f"{ranking.way} {ranking.note}"
    place = list(ranking.scores).index(id) + 1 if id in ranking.scores else "–"
    return f"{ranking.way} {place} ({ranking.note})" if ranking.note else f"{ranking.way} {place}"
