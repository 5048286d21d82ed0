"""Runs into training data: the exact prompt that the model saw, with the answer it gave or should have given."""

from pathlib import Path
from typing import Any

from chains.errors import UsageError
from chains.home import write_file
from chains.runs.read import Run, last_call, rated
from chains.runs.record import to_json

_CHOICES = {
    1: "(rating = 1 OR correction IS NOT NULL)",
    -1: "rating = -1",
    None: "parent IS NULL",
}


def to_dataset(feedback: int | None = 1, path: str | Path | None = None) -> list[dict[str, Any]]:
    """Return one chat row `{"messages": [...]}` for each chosen run, oldest first; with `path`, also write them there as JSONL.

    feedback=+1: the runs rated +1 and those with a correction, which replaces the answer. feedback=-1: the runs rated -1, with the
    answer as it was given. feedback=None: every run, corrected where it was. Of a chain of several model calls the row is the last one.
    Raises UsageError where a file is asked for and no run was chosen.
    """
    answered = (run for run in chosen(feedback) if run.error is None)
    found = [row for run in answered if (row := _chat_row(run, corrected=feedback != -1))]
    if path is not None:
        if not found:
            raise UsageError(
                "no run was chosen, so there is nothing to write; rate some answers first: runs.feedback(id, rating=+1)"
            )
        write_file(Path(path), "".join(to_json(row) + "\n" for row in found))
    return found


def chosen(feedback: int | None) -> list[Run]:
    """Return the runs with this feedback, oldest first: rated +1 or corrected, rated -1, or None: every one that is no step of another."""
    if isinstance(feedback, bool) or feedback not in _CHOICES:
        raise UsageError(f"feedback={feedback!r} cannot be used; give +1, -1 or None (every run)")
    return rated(_CHOICES[feedback])


def _chat_row(run: Run, corrected: bool) -> dict[str, Any] | None:
    call = last_call(run)
    if call is None or call.messages is None or call.answer is None:
        return None
    answer = run.correction if corrected and run.correction else call.answer
    return {"messages": [*call.messages, {"role": "assistant", "content": answer}]}
