"""One thing that a check finds: where, which rule, and its words in English or Korean."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from tuning.data.scripts import named
from tuning.data.words import RULES, WORDS

Row = dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (`error`), unwise (`warning`) or worth knowing (`advice`) at a place in a file."""

    file: str
    line: int
    field: str
    rule: str
    values: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def level(self) -> str:
        """`error`, `warning` or `advice`."""
        return RULES[self.rule]

    @property
    def problem(self) -> str:
        """What is wrong, in English."""
        return self.words("en")[0]

    @property
    def fix(self) -> str:
        """What to do, in English."""
        return self.words("en")[1]

    def words(self, language: str) -> tuple[str, str]:
        """Return (what is wrong, what to do) in `en` or `ko`."""
        problem, fix = WORDS[language][self.rule]
        mixed = self.rule == "language-mix"
        shown = {name: named(value, language) if mixed else _short(value) for name, value in self.values.items()}
        return problem.format(**shown), fix.format(**shown)

    def said(self, language: str) -> str:
        """Return the whole finding as one line."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        problem, fix = self.words(language)
        return f"{place}: {self.field + ': ' if self.field else ''}{problem}; {fix}"

    def __str__(self) -> str:
        return self.said("en")

    def as_json(self) -> dict[str, Any]:
        """Return the finding as plain data."""
        return {"file": self.file, "line": self.line, "field": self.field, "rule": self.rule, "level": self.level,
                "problem": self.problem, "fix": self.fix}  # fmt: skip


def _short(value: Any) -> Any:
    """Return `value` with no line break and no more than 80 characters, so that a finding stays one line."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18:
        return value
    text = " ".join(str(value)[:400].split())
    return text if len(text) <= 80 else text[:77] + "…"
