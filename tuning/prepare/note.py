"""One thing that the analysis saw, as facts: whoever shows it chooses the words and the language."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Note:
    """A thing to say: what it is, and its facts."""

    code: str
    facts: dict[str, Any] = field(default_factory=dict)
