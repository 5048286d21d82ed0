"""Reading runs back: the latest ones, and one with the tree of its steps."""

import difflib
import json
from dataclasses import dataclass, replace
from typing import Any

from chains.errors import UsageError
from chains.runs import store, threads

_SELECT = """SELECT runs.id, parent, session, name, inputs, messages, answer, output, model, sampling, usage, started, ended, error,
    rating, correction, comment, thread, lists FROM runs LEFT JOIN feedback ON feedback.run = runs.id"""


@dataclass(frozen=True)
class Run:
    """One recorded run of a chain. Where it called a model itself, `messages` is the exact prompt and `answer` the
    model's own words; `output` is what the chain returned."""

    id: str
    parent: str | None
    session: str | None
    name: str
    inputs: Any
    messages: list[dict[str, Any]] | None
    answer: str | None
    output: Any
    model: str | None
    sampling: dict[str, Any]
    usage: dict[str, int]
    started: float  # seconds since 1970
    ended: float
    error: str | None
    rating: int | None
    correction: str | None
    comment: str | None
    steps: tuple["Run", ...] = ()


def recent(limit: int = 20, session: str | None = None) -> list[Run]:
    """Return the latest runs (of one session, where it is named), newest first, without the runs that are steps of another."""
    if limit < 1:
        raise UsageError(f"limit={limit} cannot be used; ask for at least 1 run")
    chosen, values = ("parent IS NULL", ()) if session is None else ("parent IS NULL AND session = ?", (session,))
    found = store.rows(f"{_SELECT} WHERE {chosen} ORDER BY started DESC, runs.rowid DESC LIMIT ?", (*values, limit))
    return [_run(row) for row in found]


def after(place: int, session: str | None = None) -> tuple[int, list[Run]]:
    """Return the runs written after `place`, oldest first, and the place of the last one written; steps of others are left out.

    A place of -1 gives no runs: it is where to begin.
    """
    ((last,),) = store.rows("SELECT coalesce(max(rowid), 0) FROM runs")
    if place < 0:
        return last, []
    sql = f"{_SELECT} WHERE parent IS NULL AND runs.rowid > ?1 AND runs.rowid <= ?2 AND (?3 IS NULL OR session = ?3) ORDER BY runs.rowid"
    return last, [_run(row) for row in store.rows(sql, (place, last, session))]


def get(id: str) -> Run:
    """Return the run with this id and, in `steps`, the runs it is made of. UsageError names the nearest ids where there is none."""
    found = store.rows(f"{_SELECT} WHERE runs.id = ?", (id,))
    if not found:
        raise unknown(id)
    return _with_steps(_run(found[0]))


def rated(sql: str, values: tuple[Any, ...] = ()) -> list[Run]:
    """Return the runs, oldest first, of which the condition `sql` is true, each with its steps."""
    return [_with_steps(_run(row)) for row in store.rows(f"{_SELECT} WHERE {sql} ORDER BY started, runs.rowid", values)]


def last_call(run: Run) -> Run | None:
    """Return the run itself where it called a model, or else the last of its steps that did."""
    if run.messages is not None:
        return run
    return next((call for step in reversed(run.steps) if (call := last_call(step))), None)


def unknown(id: str) -> UsageError:
    """Return the error for an id that no run has."""
    ids = [row[0] for row in store.rows("SELECT id FROM runs ORDER BY rowid DESC LIMIT 1000")]
    near = [other for other in ids if id and other.startswith(id)] or difflib.get_close_matches(id, ids, n=2)
    if not ids:
        return UsageError(f"no run {id!r}: no run is recorded yet (CHAINTUNE_RUNS=off records none)")
    hint = f"; near: {', '.join(repr(other) for other in near[:3])}" if near else ""
    return UsageError(f"no run {id!r}{hint}. See: chaintune runs")


def _with_steps(run: Run) -> Run:
    below = store.rows(f"{_SELECT} WHERE parent = ? ORDER BY started, runs.rowid", (run.id,))
    return replace(run, steps=tuple(_with_steps(_run(row)) for row in below)) if below else run


def _run(row: tuple[Any, ...]) -> Run:
    (
        id,
        parent,
        session,
        name,
        inputs,
        messages,
        answer,
        output,
        model,
        sampling,
        usage,
        started,
        ended,
        error,
        *feedback,
        thread,
        lists,
    ) = row
    given = _json(inputs)
    for key, hash in (_json(lists) or {}).items():
        given[key] = threads.read(bytes.fromhex(hash))
    said = _json(messages) if thread is None else threads.read(thread)
    return Run(
        id, parent, session, name, given, said, answer, _json(output), model, _json(sampling) or {}, _json(usage) or {},
        started, ended, error, *feedback,
    )  # fmt: skip


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
