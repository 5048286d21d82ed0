"""What reaches the terminal: results on stdout, progress on stderr, and under `--json` one JSON value on stdout and nothing else."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

_CONTROL = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_results: TextIO | None = None

Advance = Callable[[int, int, str], None]
"""Called with how many are done, of how many, and a word on what is going on."""


@contextmanager
def results_only() -> Iterator[None]:
    """While entered, only `as_json` writes to stdout; what anything else prints there goes to stderr."""
    global _results
    _results = sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results = None


@contextmanager
def unheard() -> Iterator[None]:
    """While entered, nothing that is printed is seen: another process of the same training says it."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def as_json(value: Any) -> None:
    """Print `value` as one line of JSON on the real stdout."""
    print(json.dumps(value, ensure_ascii=False, default=str), file=_results or sys.stdout, flush=True)


def plain(text: str) -> str:
    """Return `text` without control characters: a model's or a document's text must not steer the terminal."""
    return text.translate(_CONTROL)


def say(text: str) -> None:
    """Print one line of text."""
    print(plain(text), flush=True)


def note(text: str) -> None:
    """Print one line of text on stderr: a word beside the result."""
    print(plain(text), file=sys.stderr, flush=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their columns: aligned on a terminal, separated by tabs in a pipe."""
    cells = [[plain(str(cell)).replace("\t", " ").replace("\n", " ") for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in [list(columns), *cells]:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in cells:
        shown.add_row(*(Text(cell) for cell in row))
    Console().print(shown)


@contextmanager
def reading(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that moves the bar of `progress` by bytes done and bytes in all."""
    with progress(label) as advance:
        yield lambda done, total: advance(done, total, "")


@contextmanager
def progress(label: str) -> Iterator[Advance]:
    """Yield a function that moves a bar on stderr; where stderr is no terminal, it shows nothing."""
    if not sys.stderr.isatty():
        yield lambda done, total, note: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    above = sys.stdout.isatty()  # what is printed meanwhile stands above the bar; in a file it stays in the file
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=above) as bar:
        task = bar.add_task(label, total=None, note="")
        yield lambda done, total, note: bar.update(task, completed=done, total=total or None, note=plain(note))
