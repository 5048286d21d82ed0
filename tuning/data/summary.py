"""What a data file holds, in numbers: rows, messages, tokens with percentiles and by role, languages, and what training on it costs."""

import random
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tuning.data.findings import Row
from tuning.data.item import Item, said
from tuning.data.rules_text import script
from tuning.data.tokens import Count

TARGET_EPOCHS, MIN_EXAMPLES, MAX_EXAMPLES = 3, 100, 25_000
"""OpenAI's rule for the number of epochs that is taken where none is given (its cookbook's chat_finetuning_data_prep)."""
PERCENTILES = (0, 5, 25, 50, 75, 95, 100)
SAMPLES = 8


def default_epochs(rows: int) -> int:
    """Return how many epochs OpenAI's services take by default for that many rows."""
    if rows * TARGET_EPOCHS < MIN_EXAMPLES:
        return min(25, MIN_EXAMPLES // max(rows, 1))
    return max(1, MAX_EXAMPLES // rows) if rows * TARGET_EPOCHS > MAX_EXAMPLES else TARGET_EPOCHS


@dataclass
class Summary:
    """Grows row by row; a number a row is kept in 4 bytes, so that a million rows take 12 MB."""

    tokens: Any = field(default_factory=lambda: array("I"))
    characters: Any = field(default_factory=lambda: array("I"))
    messages: Any = field(default_factory=lambda: array("I"))
    roles: Counter[str] = field(default_factory=Counter)
    role_tokens: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    learned: int = 0
    no_system: int = 0
    no_user: int = 0
    samples: list[tuple[int, Row]] = field(default_factory=list)
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    def add(self, line: int, row: Row, item: Item) -> None:
        """Count one row."""
        self._sample(line, row)
        said_here = [*item.messages, *(m for output in item.outputs for m in output.messages)]
        texts = [item.text] if item.kind == "text" else [said(m) for m in said_here]
        self.characters.append(min(sum(map(len, texts)), 2**32 - 1))
        self.messages.append(len(said_here) or 1)
        roles = [str(m["role"]) for m in said_here]
        self.roles.update(roles)
        self.no_system += "system" not in roles and "developer" not in roles
        self.no_user += "user" not in roles
        language = script(texts[-1]) if texts else None
        self.languages[language or "none"] += 1

    def count(self, found: Count) -> None:
        """Add a row's tokens."""
        self.tokens.append(found.total)
        self.learned += found.learned
        self.role_tokens.update(found.roles)

    def _sample(self, line: int, row: Row) -> None:
        seen = len(self.characters)
        if seen < SAMPLES:
            self.samples.append((line, row))
        elif (place := self._random.randrange(seen + 1)) < SAMPLES:
            self.samples[place] = (line, row)

    def as_json(
        self, limit: int | None, price: float | None, epochs: float | None, rate: float | None
    ) -> dict[str, Any]:
        """Return the numbers; `price` is for a million tokens, `rate` in tokens a second; None where they are not known."""
        rows = len(self.characters)
        times = epochs or default_epochs(rows)
        billed = sum(min(t, limit or t) for t in self.tokens)
        trained = billed * times
        return {
            "rows": rows, "messages": sum(self.messages), "roles": dict(self.roles), "languages": dict(self.languages.most_common()),
            "without_system": self.no_system, "without_user": self.no_user,
            "characters": {"total": sum(self.characters), "percentiles": percentiles(self.characters)},
            "messages_per_row": percentiles(self.messages),
            "tokens": {"total": sum(self.tokens), "learned": self.learned, "percentiles": percentiles(self.tokens),
                       "by_role": dict(self.role_tokens)} if len(self.tokens) else None,
            "epochs": times, "trained_tokens": trained if len(self.tokens) else None,
            "cost": trained * price / 1e6 if price is not None and len(self.tokens) else None,
            "seconds": trained / rate if rate and len(self.tokens) else None,
            "tokens_per_s": rate,
        }  # fmt: skip


def percentiles(values: Any) -> dict[str, int]:
    """Return the smallest value that at least p % of the values do not exceed (nearest rank), for each of PERCENTILES."""
    if not len(values):
        return {}
    ordered = np.sort(np.frombuffer(values, dtype=np.uint32))
    return {f"p{p}": int(ordered[max(0, -(-p * len(ordered) // 100) - 1)]) for p in PERCENTILES}


def histogram(values: Any, bins: int = 24) -> list[tuple[int, int, int]]:
    """Return (from, to, how many) of equal parts of the range up to the 99th percentile; the last part takes what is beyond."""
    if not len(values):
        return []
    found = np.frombuffer(values, dtype=np.uint32).astype(np.int64)
    low, high = int(found.min()), int(np.percentile(found, 99, method="higher"))
    width = max(1, -(-(high - low + 1) // bins))
    places = np.minimum((found - low) // width, (high - low) // width)
    counts = np.bincount(places)
    return [(low + n * width, low + (n + 1) * width - 1, int(count)) for n, count in enumerate(counts)]
