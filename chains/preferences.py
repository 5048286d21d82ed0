"""Preference pairs out of the run store: what votes, best-of-n and reflection decided, and what people corrected.

    to_preferences("pairs.jsonl")       # rankings rows of two answers, as tuning reads them

Where a person corrected an answer, the correction is better than the answer. See chains/candidates.py for the form.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chains import runs
from chains.candidates import Candidate, Outcome, Row, outcome_from
from chains.errors import UsageError
from chains.home import write_file
from chains.runs.read import Run, last_call
from chains.runs.record import to_json

_ALL = 2**31


def to_preferences(path: str | Path | None = None, least: float = 0.0, limit: int = _ALL) -> list[Row]:
    """Return the pairs of the latest `limit` runs, oldest run first, each pair once; with `path`, also write them there as JSONL.

    Votes with a confidence below `least` are left out. Raises UsageError where a file is asked for and there is no pair.
    """
    found: dict[str, Row] = {}
    for run in reversed(runs.recent(limit)):
        for row in pairs_of(runs.get(run.id), least):
            found.setdefault(to_json(row), row)
    if path is not None:
        if not found:
            raise UsageError(
                "no run holds a pair; run SelfConsistency, BestOfN or Reflect, or correct answers: runs.feedback(id, correction=...)"
            )
        write_file(Path(path), "".join(f"{line}\n" for line in found))
    return list(found.values())


def pairs_of(run: Run, least: float = 0.0) -> Iterator[Row]:
    """Yield the pairs of one run and of its steps."""
    for data in run.output.values() if isinstance(run.output, dict) else ():
        if (
            isinstance(data, dict)
            and {"candidates", "prompt"} <= data.keys()
            and (data.get("confidence") or 1) >= least
        ):
            yield from outcome_from(data).pairs()
    if run.correction:
        yield from _corrected(run)
    for step in run.steps:
        yield from pairs_of(step, least)


def _corrected(run: Run) -> list[Row]:
    call = last_call(run)
    if call is None or call.messages is None or call.answer is None:
        return []
    texts: list[Any] = [run.correction, call.answer]
    return Outcome(call.messages, tuple(Candidate(text, text, rank) for rank, text in enumerate(texts, 1))).pairs()
