"""Training data from what ran on this machine: answers that a person liked or corrected become demonstrations, what they were better than
becomes preferences, and what votes, best-of-n and critique decided between several answers becomes rankings. Personal data is taken out, equal
rows are left out, and every row's lineage says which run it is from. Runs are read one by one; what is held of each is a hash of its rows.

Lineage is a file beside each: a line {"sha256": of the row's line, "runs": [ids], "chain", "model", "started", "why", "redacted": count}.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chains import runs
from chains.candidates import outcome_from
from chains.errors import UsageError
from chains.runs import store
from chains.runs.read import last_call
from tuning.lines import Row, canonical
from tuning.redaction import redact

KINDS = ("chat", "preferences", "rankings")


@dataclass(frozen=True)
class Made:
    """A row, of which of KINDS it is, and where it is from."""

    kind: str
    row: Row
    lineage: Row


@dataclass
class Tally:
    """How many runs were looked at, how many rows were the same as an earlier one, and how much personal data was replaced."""

    looked_at: int = 0
    twice: int = 0
    redacted: int = 0
    names: set[str] = field(default_factory=set)


def collect(
    feedback: str = "up",
    chain: str | None = None,
    since: float | None = None,
    private: bool = True,
    tally: Tally | None = None,
) -> Iterator[Made]:
    """Yield the rows that the recorded runs make, oldest first, each once; `tally` counts along.

    feedback: `up` are runs rated +1 and those with a correction, which replaces the answer; `down` are those rated -1, with the answer as it was
    given; `any` is every run. `chain` keeps the runs of chains with that name, `since` those begun from that time on (seconds since 1970).
    A preference is a correction over the answer that it corrects, or an answer rated +1 over one rated -1 to the same prompt. A ranking is what
    a run that nobody rated down made of several answers to one prompt; `down` has none. `private` takes personal data and secrets out.
    Raises UsageError for an unknown `feedback`, or a chain that never ran.
    """
    if feedback not in _CHOSEN:
        raise UsageError(f"feedback={feedback!r} is unknown; use 'up', 'down' or 'any'")
    tally = Tally() if tally is None else tally
    seen: set[bytes] = set()
    rated: dict[bytes, list[_Said]] = {}
    for run in _judged(since or 0.0):
        tally.names.add(run.name)
        if (chain is not None and run.name != chain) or run.error is not None:
            continue
        tally.looked_at += 1
        for kind, row, sources, why in _rows(run, feedback, rated):
            made = _made(kind, row, sources, run, why, private)
            key = bytes.fromhex(made.lineage["sha256"])
            tally.twice += key in seen
            if key not in seen:
                seen.add(key)
                tally.redacted += made.lineage["redacted"]
                yield made
    if chain is not None and chain not in tally.names:
        have = ", ".join(sorted(map(repr, tally.names))) or "none"
        raise UsageError(f"no run of a chain {chain!r}; have {have}. See: chaintune runs list")


_CHOSEN: dict[str, Callable[[runs.Run], bool]] = {
    "up": lambda run: run.rating == 1 or run.correction is not None,
    "down": lambda run: run.rating == -1,
    "any": lambda run: run.parent is None,
}
_Found = tuple[str, Row, list[str], str]
"""A row's kind, the row, the ids of its runs, and why it was made."""


@dataclass(frozen=True)
class _Said:
    """What is kept of a rated answer, to hold it against later ones to the same prompt."""

    id: str
    rating: int
    answer: str


def _judged(since: float) -> Iterator[runs.Run]:
    """Yield every run that no other run is made of, and those of their steps that a person judged, oldest first."""
    for (id,) in store.rows(
        "SELECT id FROM runs WHERE parent IS NULL AND started >= ? ORDER BY started, rowid", (since,)
    ):
        run = runs.get(id)
        yield run
        yield from (step for step in _steps(run) if step.rating is not None or step.correction)


def _steps(run: runs.Run) -> Iterator[runs.Run]:
    for step in run.steps:
        yield step
        yield from _steps(step)


def _rows(run: runs.Run, feedback: str, rated: dict[bytes, list[_Said]]) -> Iterator[_Found]:
    call = last_call(run)
    if call is not None and call.messages and call.answer:
        if _CHOSEN[feedback](run):
            corrected = feedback != "down" and run.correction
            why = "corrected" if corrected else {1: "rated up", -1: "rated down"}.get(run.rating or 0, "not rated")
            yield "chat", {"messages": [*call.messages, _answer(corrected or call.answer)]}, [run.id], why
        yield from _preferences(run, call.messages, call.answer, rated)
    if feedback != "down" and run.rating != -1 and run.parent is None:
        yield from _rankings(run)


def _preferences(
    run: runs.Run, prompt: Sequence[Row], answer: str, rated: dict[bytes, list[_Said]]
) -> Iterator[_Found]:
    if run.correction and run.correction != answer:
        yield "preferences", _preference(prompt, run.correction, answer), [run.id], "corrected"
    if run.rating not in (1, -1):
        return
    here, others = _Said(run.id, run.rating, answer), rated.setdefault(_key(prompt), [])
    for other in others:
        if other.rating != here.rating and other.answer != answer:
            good, bad = (here, other) if here.rating == 1 else (other, here)
            yield (
                "preferences",
                _preference(prompt, good.answer, bad.answer),
                [good.id, bad.id],
                "rated up over rated down",
            )
    others.append(here)


def _key(prompt: Sequence[Row]) -> bytes:
    return hashlib.sha256(canonical(prompt)).digest()


def _preference(messages: Sequence[Row], good: str, bad: str) -> Row:
    return {
        "input": {"messages": list(messages)},
        "preferred_output": [_answer(good)],
        "non_preferred_output": [_answer(bad)],
    }


def _rankings(run: runs.Run) -> Iterator[_Found]:
    """Yield a rankings row for each choice between several answers that the run or one of its steps made."""
    for part in (run, *_steps(run)):
        for data in part.output.values() if isinstance(part.output, dict) else ():
            if isinstance(data, dict) and {"candidates", "prompt"} <= data.keys() and (row := _ranking(data)):
                yield "rankings", row, [part.id], f"ranked by {part.name}"


def _ranking(data: Mapping[str, Any]) -> Row | None:
    """Return the different answers to the outcome's prompt with their ranks, or None where none is better than another."""
    outcome = outcome_from(data)
    ranks: dict[str, int] = {}
    for candidate in outcome.candidates:
        if candidate.same_prompt and candidate.text:
            ranks[candidate.text] = min(candidate.rank, ranks.get(candidate.text, candidate.rank))
    levels = sorted(set(ranks.values()))
    if len(levels) < 2 or not outcome.prompt or outcome.prompt[-1]["role"] == "assistant":
        return None
    outputs = [{"messages": [_answer(text)], "rank": levels.index(rank) + 1} for text, rank in ranks.items()]
    return {"input": {"messages": outcome.prompt}, "outputs": outputs}


def _answer(text: str) -> Row:
    return {"role": "assistant", "content": text}


def _made(kind: str, row: Row, sources: Sequence[str], run: runs.Run, why: str, private: bool) -> Made:
    clean, count = redact(row) if private else (row, 0)
    call = last_call(run)
    lineage: Row = {
        "sha256": hashlib.sha256(canonical(clean)).hexdigest(), "runs": list(sources), "chain": run.name,
        "model": call.model if call else None, "started": run.started, "why": why, "redacted": count,
    }  # fmt: skip
    return Made(kind, clean, lineage)
