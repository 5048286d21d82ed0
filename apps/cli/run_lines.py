"""A run in one line, and as plain data."""

import time
from typing import Any

COLUMNS = ("ID", "WHEN", "CHAIN", "SESSION", "RATING", "ASKED", "OUTPUT")
_KEPT = (
    "id",
    "session",
    "name",
    "inputs",
    "output",
    "model",
    "usage",
    "started",
    "ended",
    "error",
    "rating",
    "correction",
)


def line(run: Any) -> list[str]:
    """Return the run's cells under COLUMNS."""
    when = time.strftime("%m-%d %H:%M", time.localtime(run.started))
    said = f"error: {run.error}" if run.error else first_text(run.output)
    return [run.id, when, run.name, run.session or "", thumb(run.rating), cut(first_text(run.inputs)), cut(said)]


def short(run: Any) -> dict[str, Any]:
    """Return what `--json` says of a run in a list."""
    return {name: getattr(run, name) for name in _KEPT}


def thumb(rating: int | None) -> str:
    """Return a rating as +1, -1 or nothing."""
    return {1: "+1", -1: "-1"}.get(rating or 0, "")


def first_text(value: Any) -> str:
    """Return a value's text; of a dict that of its first text."""
    if isinstance(value, dict):
        value = next((item for item in value.values() if isinstance(item, str)), value)
    return "" if value is None else str(value)


def cut(text: str, most: int = 40) -> str:
    """Return the text on one line, its end left out where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
