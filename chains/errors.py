"""What can go wrong, by who must act: the caller, the model, or the machine.

Each error's text is one sentence a person can act on: what was wrong, what was expected, what to do next.
The command line prints that sentence and leaves with `exit_code`; a traceback is a bug of ours.
"""

import difflib
from collections.abc import Iterable


class ChaintuneError(Exception):
    """The base of every error that this project raises on purpose."""

    exit_code = 1


class UsageError(ChaintuneError, ValueError):
    """The call was wrong: the caller must change an argument, a file or a name."""

    exit_code = 2


class WiringError(UsageError):
    """A chain was built from steps whose inputs and outputs do not fit."""


class ContextError(UsageError):
    """What a model is to read is longer than its context."""

    def __init__(self, length: int, context: int, what: str = "prompt", model: str = "model") -> None:
        super().__init__(
            f"the {what} is {length} tokens long and the {model}'s context is {context}; "
            "shorten the prompt, the history or the passages"
        )


class ModelError(ChaintuneError):
    """The model answered with something that cannot be used."""


class TruncatedError(ModelError):
    """The answer reached max_tokens, or the end of the model's context, before it was whole; `partial` is the text so far."""

    def __init__(self, message: str, partial: str = "") -> None:
        super().__init__(message)
        self.partial = partial


class MachineError(ChaintuneError):
    """The machine could not do it: a full disk, too little memory, a lock held by another process."""


class BusyError(MachineError):
    """Too much waits already: the same call may be made again later."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known name closest to `name`, or "" where none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
