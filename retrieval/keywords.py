"""The keyword index: BM25 over the terms of the passages.

A passage's score for a query is how much of the query it holds: the BM25 weights of the terms that it has, divided by what all of the
query's terms could weigh. It lies between 0 and 1, and the order is BM25's own. A pair of syllables weighs PAIR_WEIGHT of a word. A Korean
word that no passage holds is stood in for by the nearest word of a common syllable that some passage does hold, at a weight that is how
near it is.

PAIR_WEIGHT follows from the terms: neighbouring pairs overlap, so each syllable stands in two of them, and at one half it counts once.
The sample's Korean questions and pairs of KorSTS (training part, graded 4 or more) agree: nDCG@10 at 1: 0.869 and 0.861, at ½: 0.881
and 0.861, at 0.3: 0.881 and 0.858, without pairs 0.861 and 0.849.

The index is made from the terms that the library keeps with every passage, and saved in a folder with the number of the state it is of.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chains.home import publish_folder
from retrieval import words

PAIR_WEIGHT = 0.5
_STATE = "state.json"


class Hit(NamedTuple):
    """A passage's id and its score."""

    id: int
    score: float


class Query(NamedTuple):
    """The terms of a question with their weights, what they could weigh at most, and which word stands in for which."""

    weights: dict[str, float]
    most: float
    stand_ins: dict[str, str]


class Keywords:
    """The terms of `ids`' passages, ready for questions. Immutable, so that threads share it."""

    def __init__(self, ids: np.ndarray, index: Any) -> None:
        self.ids = ids
        self._index = index

    @classmethod
    def build(cls, ids: Sequence[int], terms: Sequence[Sequence[str]]) -> "Keywords":
        """Return the index of passages whose terms are given in the order of their ids."""
        if not any(terms):
            return cls(np.asarray(ids, dtype=np.int64), None)
        from bm25s import BM25

        index = BM25(
            k1=1.2, b=0.75
        )  # Lucene's defaults (BM25Similarity), whose idf it is, too: ln(1 + (N - n + ½) / (n + ½))
        index.index([list(row) for row in terms], show_progress=False)
        return cls(np.asarray(ids, dtype=np.int64), index)

    def save(self, folder: Path, state: int) -> None:
        """Write the index into `folder`, complete or not at all."""
        with publish_folder(folder) as work:
            if self._index is not None:
                self._index.save(work, show_progress=False)
            np.save(work / "ids.npy", self.ids, allow_pickle=False)
            (work / _STATE).write_text(json.dumps(state))

    @staticmethod
    def saved(folder: Path, state: int) -> bool:
        """Return whether `folder` holds the index of this state."""
        try:
            return bool(json.loads((folder / _STATE).read_text()) == state)
        except (OSError, ValueError):
            return False

    @classmethod
    def load(cls, folder: Path, state: int) -> "Keywords | None":
        """Return the index that was saved for this state, or None where there is none or it cannot be read."""
        if not cls.saved(folder, state):
            return None
        try:
            ids = np.load(folder / "ids.npy", allow_pickle=False)
            from bm25s import BM25

            return cls(ids, BM25.load(folder, show_progress=False) if (folder / "params.index.json").exists() else None)
        except (OSError, ValueError, KeyError):
            return None

    def query(self, text: str) -> Query:
        """Return the question's terms, weighed, with stand-ins for the Korean words that no passage holds."""
        (asked,) = words.terms([text])
        weights = {term: PAIR_WEIGHT if term.startswith(words.PAIR) else 1.0 for term in asked}
        most = sum(weight * self._idf(term) for term, weight in weights.items())
        missing = [term for term, weight in weights.items() if weight == 1.0 and not self._holds(term)]
        near = words.neighbours(text) if missing else {}
        stand_ins: dict[str, str] = {}
        for term in missing:
            word, nearness = next(((word, score) for word, score in near.get(term, ()) if self._holds(word)), ("", 0.0))
            if word and word not in weights:
                stand_ins[term] = word
                weights[word] = nearness
        return Query({term: weight for term, weight in weights.items() if self._holds(term)}, most, stand_ins)

    def search(self, query: Query, depth: int, allowed: np.ndarray | None = None) -> list[Hit]:
        """Return at most `depth` passages that hold any of the query, best first. `allowed` are the ids to look among."""
        if not query.weights:
            return []
        scores = np.zeros(len(self.ids), dtype=np.float32)
        for weight in set(query.weights.values()):
            scores += weight * self._index.get_scores([term for term, own in query.weights.items() if own == weight])
        if allowed is not None:
            scores[~np.isin(self.ids, allowed)] = 0
        order = _best(scores, depth)
        return [Hit(int(self.ids[i]), float(scores[i]) / query.most) for i in order if scores[i] > 0]

    def _holds(self, term: str) -> bool:
        return self._index is not None and term in self._index.vocab_dict and self._passages_with(term) > 0

    def _idf(self, term: str) -> float:
        n = self._passages_with(term) if self._index is not None and term in self._index.vocab_dict else 0
        return float(np.log1p((len(self.ids) - n + 0.5) / (n + 0.5)))

    def _passages_with(self, term: str) -> int:
        starts = self._index.scores["indptr"]
        column = self._index.vocab_dict[term]
        return int(starts[column + 1] - starts[column]) if column + 1 < len(starts) else 0


def _best(scores: np.ndarray, depth: int) -> np.ndarray:
    """Return the places of the `depth` highest scores, highest first; of equal ones, the passage that came into the library first."""
    if depth < len(scores):
        least = np.partition(scores, -depth)[-depth]
        places = np.flatnonzero(scores >= least) if least > 0 else np.flatnonzero(scores > 0)
    else:
        places = np.arange(len(scores))
    return places[np.argsort(-scores[places], kind="stable")][:depth]
