"""Several answers to one question, which was best, and what that teaches: the losers make preference pairs with the winner.

`SelfConsistency`, `BestOfN` and `Reflect` each put an `Outcome` beside their answer. Its `pairs()` are rankings rows, as tuning
reads them: {"input": {"messages"}, "outputs": [{"messages", "rank"}, ...]}, 1 the best.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

Row = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """One of the answers."""

    value: Any
    """What the chain returned."""
    text: str | None
    """The model's own words, before any parser; None where no chat model was called."""
    rank: int
    """1 is the best; equal ranks are a tie."""
    key: Any = None
    """What it voted for; None voted for nothing."""
    score: float | None = None
    critique: str | None = None
    """What the critic said of it."""
    same_prompt: bool = True
    """Whether its last model call had the outcome's prompt; only then can it be compared with the others."""


@dataclass(frozen=True)
class Outcome:
    """All answers in the order they were made, and how one of them was chosen."""

    prompt: list[Row]
    """The exact prompt as chat rows; empty where no chat model was called."""
    candidates: tuple[Candidate, ...]
    failed: int = 0
    """How many further answers ended in an error."""
    confidence: float | None = None
    """Of a vote: the probability that the winner is the answer that the chain gives most often."""
    stopped: Literal["all", "decided", "sure", "approved"] = "all"
    """Why no more were made: there were `all` that were asked for; the rest could not change the winner (`decided`); the confidence
    was enough (`sure`); the critic had nothing to add (`approved`)."""

    @property
    def best(self) -> Candidate:
        """The candidate that was chosen: the first of rank 1."""
        return next(candidate for candidate in self.candidates if candidate.rank == 1)

    @property
    def votes(self) -> dict[Any, int]:
        """How many candidates voted for each key, the most first."""
        return dict(Counter(c.key for c in self.candidates if c.key is not None).most_common())

    def pairs(self, most: int | None = None) -> list[Row]:
        """Return a rankings row for each different (better, worse) pair of texts of rank 1 and below, at most `most` of them."""
        if not self.prompt or self.prompt[-1]["role"] == "assistant":
            return []
        usable = [c for c in self.candidates if c.same_prompt and c.text]
        best = dict.fromkeys(str(c.text) for c in usable if c.rank == 1)
        rest = dict.fromkeys(str(c.text) for c in usable if c.rank > 1 and c.text not in best)
        return [_pair(self.prompt, *both) for both in itertools.islice(itertools.product(best, rest), most)]


def ranked(candidates: Sequence[Candidate], worth: Callable[[Candidate], Any]) -> tuple[Candidate, ...]:
    """Return the candidates in the order given, ranked by `worth`: the greatest is 1, equals share a rank, None comes last."""
    known = sorted({worth(c) for c in candidates if worth(c) is not None}, reverse=True)
    places = {value: rank for rank, value in enumerate(known, 1)}
    return tuple(_with_rank(c, places.get(worth(c), len(known) + 1)) for c in candidates)


def outcome_from(data: Mapping[str, Any]) -> Outcome:
    """Return the Outcome that the run store kept as JSON."""
    known = {field.name for field in fields(Candidate)}
    candidates = tuple(Candidate(**{k: v for k, v in row.items() if k in known}) for row in data["candidates"])
    return Outcome(list(data["prompt"]), candidates)


def _with_rank(candidate: Candidate, rank: int) -> Candidate:
    return Candidate(**{**{f.name: getattr(candidate, f.name) for f in fields(Candidate)}, "rank": rank})


def _pair(prompt: list[Row], better: str, worse: str) -> Row:
    outputs = [
        {"messages": [{"role": "assistant", "content": text}], "rank": rank}
        for rank, text in enumerate((better, worse), 1)
    ]
    return {"input": {"messages": prompt}, "outputs": outputs}
