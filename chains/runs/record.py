"""Writing runs down: a chain begins a run, ends it, and saves it with its batch and their steps in one transaction.

A run knows its parent through the config that LangChain hands from step to step (`metadata`), so the tree holds through batches,
threads, tasks and anyone's Runnable in between. chains/runs/writer.py says when a run is on disk.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import orjson

from chains.runs import redaction, writer
from chains.runs.ids import new_id

PARENT = "chaintune_run"  # the key in a config's metadata under which a step finds the run it belongs to
SESSION = "session_id"  # the key in a config's metadata for the conversation, the name that tracers use too

_TOKENS = ("input_tokens", "output_tokens", "total_tokens")
_off: ContextVar[bool] = ContextVar("chaintune_runs_off", default=False)
_open: dict[str, "OpenRun"] = {}
_adding = threading.Lock()


@contextlib.contextmanager
def off() -> Iterator[None]:
    """Record nothing within this block; a chatbot then remembers only in this process's memory."""
    token = _off.set(True)
    try:
        yield
    finally:
        _off.reset(token)


def is_off() -> bool:
    """Say whether runs are not recorded here and now (`runs.off()`, or CHAINTUNE_RUNS=off)."""
    said = os.environ.get("CHAINTUNE_RUNS")
    return _off.get() or (said is not None and said.strip().lower() in {"off", "0", "false", "no"})


class OpenRun:
    """A run that is going on. Its chain fills in the prompt, the model and the output as they become known."""

    def __init__(self, name: str, inputs: Any, config: Mapping[str, Any]) -> None:
        metadata = config.get("metadata") or {}
        self.id = str(config.get("run_id") or new_id())
        self.parent: str | None = metadata.get(PARENT)
        self.session: str | None = metadata.get(SESSION)
        self.name = name
        self.inputs = inputs
        self.messages: list[dict[str, Any]] | None = None
        self.answer: str | None = None
        self.output: Any = None
        self.model: str | None = None
        self.sampling: dict[str, Any] | None = None
        self.usage: dict[str, int] = {}
        self.error: str | None = None
        self.started = time.time()
        self._clock = time.perf_counter()
        self.ended = self.started
        self.going = True
        self._above = _open.get(self.parent or "")
        self._below: list[OpenRun] = []
        _open[self.id] = self

    def used(self, tokens: Mapping[str, Any]) -> None:
        """Add a model call's tokens to this run and to those it is part of."""
        with _adding:
            for key in _TOKENS:
                self.usage[key] = self.usage.get(key, 0) + (tokens.get(key) or 0)
        if self._above is not None:
            self._above.used(tokens)

    def end(self, error: BaseException | None = None) -> None:
        """Close the run; `error` is what it failed with."""
        self.ended = self.started + time.perf_counter() - self._clock
        self.error = _sentence(error) if error is not None else None
        self.going = False
        _open.pop(self.id, None)

    def left_to(self) -> bool:
        """Leave this ended run to the one it is a step of, where that is still going on; say whether it was left."""
        if self._above is None or not self._above.going:
            return False
        self._above._below.append(self)
        return True

    def tree(self) -> "list[OpenRun]":
        """Return this run and the steps left to it."""
        return [self, *(run for step in self._below for run in step.tree())] if self._below else [self]


def _sentence(error: BaseException) -> str:
    if isinstance(error, GeneratorExit):
        return "the reader stopped before the answer was complete"
    notes = "; ".join(getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {error}" + (f" ({notes})" if notes else "")


def save(runs: Sequence[OpenRun]) -> None:
    """Hand ended runs with their steps to the writer, when the outermost has ended."""
    if is_off():
        return
    rows = [_row(step) for run in runs if not run.left_to() for step in run.tree()]
    if rows:
        writer.put(rows)


def _row(run: OpenRun) -> writer.Row:
    """Return the run as it will be written, apart from the objects it came from, which the program may change from now on."""
    hide = redaction.current()
    messages, inputs = run.messages, run.inputs
    row = (
        run.id,
        run.parent,
        run.session,
        run.name,
        to_json(inputs),
        to_json(messages) if messages is not None else None,
        clean(run.answer) if run.answer is not None else None,
        to_json(run.output) if run.output is not None else None,
        run.model,
        to_json(run.sampling) if run.sampling else None,
        to_json(run.usage) if run.usage else None,
        run.started,
        run.ended,
        clean(run.error) if run.error else None,
    )
    return row if hide is None else redaction.of_row(row, hide)


def to_json(value: Any) -> str:
    """Return `value` as JSON text; what JSON does not know is written as its fields or its text."""
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, RecursionError):  # half a surrogate pair, an integer over 64 bits, a value that holds itself
        return json.dumps(_bounded(value), default=_plain)


def _plain(value: Any) -> Any:
    if hasattr(value, "content") and hasattr(value, "type"):  # a message
        return {"role": value.type, "content": value.content}
    if hasattr(value, "model_dump"):
        return value.model_dump()
    return list(value) if isinstance(value, set | frozenset) else str(value)


def _bounded(value: Any, depth: int = 32) -> Any:
    """Return `value` with every object deeper than `depth` as text."""
    if depth == 0:
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _bounded(item, depth - 1) for key, item in value.items()}
    return [_bounded(item, depth - 1) for item in value] if isinstance(value, list | tuple) else value


def clean(text: str) -> str:
    """Return `text` with halves of surrogate pairs, which no file can hold, as '?'."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
