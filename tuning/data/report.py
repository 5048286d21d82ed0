"""What a check is asked to do, and what it reports. Light: nothing here loads numpy or a tokenizer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning.data.findings import Finding
from tuning.lines import Advance as Advance

if TYPE_CHECKING:
    from tuning.data.summary import Summary

Moderator = Callable[[str], list[str]]
"""Returns the categories that a text is flagged for, none where it is not."""
MOST = 100
"""Findings of one rule that are kept; all are counted."""


@dataclass
class Report:
    """What `check` saw: the findings (the first of each rule), all of them counted, and the file in numbers."""

    file: str
    format: str
    rows: int
    findings: list[Finding]
    counts: dict[str, int] = field(default_factory=dict)
    title: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    moderation: str = "not configured"
    """`not configured`, or by whom and how many rows were flagged."""
    numbers: "Summary | None" = None

    @property
    def good(self) -> bool:
        """True where nothing is an error."""
        return not any(finding.level == "error" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            "file": self.file, "format": self.format, "title": self.title, "rows": self.rows, "good": self.good,
            "findings": [finding.as_json() for finding in self.findings], "counts": self.counts, "summary": self.summary,
            "moderation": self.moderation,
        }  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What a check is to do beside its rules: whose tokens are counted, against which other file, at which price."""

    model: str | None = None
    context: int | None = None
    validation: str | Path | None = None
    question: str | None = None
    answer: str | None = None
    columns: tuple[str, ...] = ()
    near: bool = True
    most: int = MOST
    price: float | None = None
    epochs: float | None = None
    rate: float | None = None
    moderator: Moderator | None = None
    moderator_name: str = ""
