"""Where a reward comes from: a reward model, a rule that knows the right answer, or a function of the caller's.

A reward function takes a row of the prompts' file, its right answer included where it has one, and the answer that was sampled.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from chains.errors import UsageError
from chains.measures import exact, f1
from chains.models.scorer import Scorer
from tuning import formats
from tuning.rollout import Answers

Reward = Callable[[formats.Row, str], float]
"""(row, answer) -> reward."""


def _exact(row: formats.Row, answer: str) -> float:
    return float(exact(answer, row["messages"][-1]["content"]))


def _f1(row: formats.Row, answer: str) -> float:
    return f1(answer, row["messages"][-1]["content"])


RULES: dict[str, Reward] = {"exact": _exact, "f1": _f1}


@dataclass(frozen=True)
class Rewards:
    """The reward of an answer: the sum of what each source gives it."""

    scorer: Scorer | None
    functions: Sequence[Reward]

    def of(self, answers: Answers, rows: Sequence[formats.Row], missing_end_penalty: float) -> torch.Tensor:
        """Return each answer's reward (B,), `missing_end_penalty` less where the answer never ended; `rows` are its prompts' rows."""
        total = -missing_end_penalty * (1 - answers.ended)
        if self.scorer is not None:
            total = total + torch.tensor(self.scorer.score_ids(answers.rows))
        for function in self.functions:
            total = total + torch.tensor([float(function(r, a)) for r, a in zip(rows, answers.texts, strict=True)])
        return total


def rule(name: str, rows: Sequence[formats.Row], path: str) -> Reward:
    """Return a rule by name. Raises UsageError where there is none of it, or a row of `path` has no answer to compare with."""
    if name not in RULES:
        raise UsageError(f"rule {name!r} is unknown; use {' or '.join(map(repr, RULES))}")
    for index, row in enumerate(rows):
        messages = row.get("messages") or [{}]
        if messages[-1].get("role") != "assistant":
            raise UsageError(
                f"{formats.place(path, index)}: the rule {name!r} needs the right answer; end the row with an assistant message"
            )
    return RULES[name]


def mark(functions: Sequence[Reward]) -> str:
    """Return a text that differs where the functions' names or code do: a run goes on only with the rewards that it began with."""
    codes = [getattr(function, "__code__", None) for function in functions]
    parts = [
        (
            getattr(f, "__qualname__", type(f).__qualname__),
            code.co_code.hex() if code else "",
            repr(code.co_consts) if code else "",
        )
        for f, code in zip(functions, codes, strict=True)
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8] if parts else ""
