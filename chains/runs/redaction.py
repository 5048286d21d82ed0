"""What must not be written down: a function through which every text of a run passes before it leaves the chain."""

import json
import warnings
from collections.abc import Callable
from typing import Any

from chains.errors import UsageError

Hide = Callable[[str], str]

_REDACTED = "[not written: the redaction failed]"
_FORM = {"role", "type", "content"}  # a message's own keys
_hide: Hide | None = None


def redact(function: Hide | None) -> None:
    """Have every text (inputs, prompts, answers, outputs, errors, feedback, a chatbot's memory) pass through `function` before it is
    written; None ends that. Where `function` fails, the text is left out and a warning says so: it is never written as it was.
    """
    global _hide
    if function is not None and not callable(function):
        raise UsageError(f"redact takes a function from text to text, not {type(function).__name__}")
    _hide = function


def current() -> Hide | None:
    """Return the function given to redact, if any."""
    return _hide


def hidden(text: str) -> str:
    """Return `text` as it may be written."""
    return text if _hide is None else _hidden(text, _hide)


def of_row(row: tuple[Any, ...], hide: Hide) -> tuple[Any, ...]:
    """Return a run's row with its texts passed through `hide`; ids, names, sampling and counts stay."""
    id, parent, session, name, inputs, messages, answer, output, *facts, error = row
    inputs, messages, output = (
        value and json.dumps(_each(json.loads(value), hide)) for value in (inputs, messages, output)
    )
    answer, error = (value and _hidden(value, hide) for value in (answer, error))
    return (id, parent, session, name, inputs, messages, answer, output, *facts, error)


def _each(value: Any, hide: Hide) -> Any:
    if isinstance(value, str):
        return _hidden(value, hide)
    if isinstance(value, dict):
        return {key if key in _FORM else _hidden(key, hide): _kept(key, item, hide) for key, item in value.items()}
    return [_each(item, hide) for item in value] if isinstance(value, list) else value


def _kept(key: str, item: Any, hide: Hide) -> Any:
    return item if key in ("role", "type") else _each(item, hide)


def _hidden(text: str, hide: Hide) -> str:
    try:
        made = hide(text)
        if isinstance(made, str):
            return made
        problem = f"it returned {type(made).__name__}, not a text"
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    warnings.warn(
        f"the redaction of a run failed, so its text is not written; mend the function: {problem}",
        RuntimeWarning,
        stacklevel=2,
    )
    return _REDACTED
