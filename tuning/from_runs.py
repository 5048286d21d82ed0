"""Training data from what ran on this machine: answers that a person liked or corrected become demonstrations, and what they were better than
becomes preferences. Personal data is taken out, equal rows are left out, and every row's lineage says which run it is from.

Lineage is a file beside each: a line {"sha256": of the row's line, "runs": [ids], "chain", "model", "started", "why", "redacted": count}.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chains import runs
from chains.errors import UsageError
from tuning.lines import Row, canonical
from tuning.redaction import redact

EVERY_RUN = 2**31


@dataclass(frozen=True)
class Made:
    """A row with where it is from."""

    row: Row
    lineage: Row


@dataclass(frozen=True)
class Collected:
    """Demonstrations (OpenAI chat rows) and preferences (OpenAI preference rows); how many were the same as an earlier one, or had no answer."""

    chat: list[Made]
    preferences: list[Made]
    twice: int
    looked_at: int


def collect(
    feedback: str = "up", chain: str | None = None, since: float | None = None, private: bool = True
) -> Collected:
    """Return the rows that the recorded runs make, oldest first.

    feedback: `up` are runs rated +1 and those with a correction, which replaces the answer; `down` are those rated -1, with the answer as it was
    given; `any` is every run. `chain` keeps the runs of chains with that name, `since` those begun from that time on (seconds since 1970).
    A preference is a correction over the answer that it corrects, or an answer rated +1 over one rated -1 to the same prompt.
    `private` takes personal data and secrets out. Raises UsageError for an unknown `feedback`, or a chain that never ran.
    """
    if feedback not in _CHOSEN:
        raise UsageError(f"feedback={feedback!r} is unknown; use 'up', 'down' or 'any'")
    found = [run for run in _judged() if since is None or run.started >= since]
    names = {run.name for run in found}
    if chain is not None and chain not in names:
        raise UsageError(
            f"no run of a chain {chain!r}; have {', '.join(sorted(map(repr, names))) or 'none'}. See: chaintune runs list"
        )
    chosen = [run for run in found if (chain is None or run.name == chain) and run.error is None]
    chat = [
        _made(row, [run], why, private)
        for run in chosen
        if _CHOSEN[feedback](run)
        for row, why in _demonstrations(run, feedback)
    ]
    preferences = [_made(row, pair, why, private) for row, pair, why in _preferences(chosen)]
    once_chat, once_preferences = _once(chat), _once(preferences)
    twice = len(chat) - len(once_chat) + len(preferences) - len(once_preferences)
    return Collected(once_chat, once_preferences, twice, len(chosen))


_CHOSEN: dict[str, Callable[[runs.Run], bool]] = {
    "up": lambda run: run.rating == 1 or run.correction is not None,
    "down": lambda run: run.rating == -1,
    "any": lambda run: run.parent is None,
}


def _judged() -> Iterator[runs.Run]:
    """Yield every run that no other run is made of, and those of their steps that a person judged, oldest first."""
    for short in reversed(runs.recent(EVERY_RUN)):
        run = runs.get(short.id)
        yield run
        yield from (step for step in _steps(run) if step.rating is not None or step.correction)


def _steps(run: runs.Run) -> Iterator[runs.Run]:
    for step in run.steps:
        yield step
        yield from _steps(step)


def _call(run: runs.Run) -> runs.Run | None:
    """Return the run itself where it called a model, or else the last of its steps that did."""
    if run.messages is not None:
        return run
    return next((call for step in reversed(run.steps) if (call := _call(step))), None)


def _demonstrations(run: runs.Run, feedback: str) -> Iterator[tuple[Row, str]]:
    call = _call(run)
    if call is None or not call.messages or not call.answer:
        return
    corrected = feedback != "down" and run.correction
    why = "corrected" if corrected else {1: "rated up", -1: "rated down"}.get(run.rating or 0, "not rated")
    yield {"messages": [*call.messages, _answer(corrected or call.answer)]}, why


def _preferences(found: Sequence[runs.Run]) -> Iterator[tuple[Row, list[runs.Run], str]]:
    by_prompt: dict[bytes, list[tuple[runs.Run, str]]] = {}
    for run in found:
        call = _call(run)
        if call is None or not call.messages or not call.answer:
            continue
        if run.correction and run.correction != call.answer:
            yield _preference(call.messages, run.correction, call.answer), [run], "corrected"
        if run.rating in (1, -1):
            by_prompt.setdefault(canonical(call.messages), []).append((run, call.answer))
            for good, bad in _against(run, call.answer, by_prompt[canonical(call.messages)]):
                yield _preference(call.messages, good[1], bad[1]), [good[0], bad[0]], "rated up over rated down"


Judged = tuple[runs.Run, str]


def _against(run: runs.Run, answer: str, others: Sequence[Judged]) -> Iterator[tuple[Judged, Judged]]:
    """Yield (better, worse) of this answer with every earlier one to the same prompt that was rated the other way."""
    for other, said in others:
        if other.rating != run.rating and said != answer:
            yield ((run, answer), (other, said)) if run.rating == 1 else ((other, said), (run, answer))


def _preference(messages: Sequence[Row], good: str, bad: str) -> Row:
    return {
        "input": {"messages": list(messages)},
        "preferred_output": [_answer(good)],
        "non_preferred_output": [_answer(bad)],
    }


def _answer(text: str) -> Row:
    return {"role": "assistant", "content": text}


def _made(row: Row, sources: Sequence[runs.Run], why: str, private: bool) -> Made:
    clean, count = redact(row) if private else (row, 0)
    first = sources[0]
    call = _call(first)
    lineage: dict[str, Any] = {
        "sha256": hashlib.sha256(canonical(clean)).hexdigest(), "runs": [run.id for run in sources], "chain": first.name,
        "model": call.model if call else None, "started": first.started, "why": why, "redacted": count,
    }  # fmt: skip
    return Made(clean, lineage)


def _once(made: Sequence[Made]) -> list[Made]:
    first: dict[str, Made] = {}
    for item in made:
        first.setdefault(item.lineage["sha256"], item)
    return list(first.values())
