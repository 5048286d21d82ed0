"""Prompt-completion pairs, what they are for, and what they have in common."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

OPEN_ENDED = "open-ended generation"
CLASSIFICATION = "classification"
CONDITIONAL = "conditional generation"
ROWS_A_CLASS = 3


@dataclass(frozen=True)
class Example:
    """One row; `label` is its row's name in the file (from 0 where the file names none)."""

    label: Hashable
    prompt: str
    completion: str


def task_type(examples: Sequence[Example]) -> str:
    """Return what the examples teach: no prompt at all is open-ended generation; a completion that stands on average in more than
    three rows is a class."""
    if not any(example.prompt for example in examples):
        return OPEN_ENDED
    if len({example.completion for example in examples}) < len(examples) / ROWS_A_CLASS:
        return CLASSIFICATION
    return CONDITIONAL


def common_prefix(texts: Sequence[str]) -> str:
    """Return the longest text that all of `texts` begin with."""
    if not texts:
        return ""
    first, last = min(texts), max(texts)  # what these two share, all share
    length = next(
        (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first)
    )
    return first[:length]


def common_suffix(texts: Sequence[str]) -> str:
    """Return the longest text that all of `texts` end with."""
    return common_prefix([text[::-1] for text in texts])[::-1]
