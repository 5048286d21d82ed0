"""Which of two models answers better: the win rate of A against B, with an interval, and a gate that recommends A only where the interval does.

    asked = winning.pairs(prompts, answers_of_a, answers_of_b, seed=0)
    winning.judged(asked, judge.by_reward(scorer))        # or judge.by_chat(asker), which asks each pair both ways round
    winning.labelled("ranked.jsonl")                      # the pairs that a person ranked with `chaintune data label`

A pair is a rankings row of two answers, without ranks until they are judged. A person sees them in a random order, which the row keeps.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from chains.errors import UsageError
from tuning import formats
from tuning.generate.judge import Ranks

A, B = "A", "B"


@dataclass(frozen=True)
class Win:
    """How A did against B over `compared` pairs."""

    wins: int
    losses: int
    ties: int
    rate: float
    """Share of the pairs that A won, a tie counting half."""
    low: float
    high: float
    """The interval that holds A's true rate with probability `confidence`, by Wilson's score (J. Am. Stat. Assoc. 1927)."""
    confidence: float
    recommended: bool
    """Whether A is better than B as far as these pairs can say: the whole interval lies above one half."""

    @property
    def compared(self) -> int:
        """The number of pairs."""
        return self.wins + self.losses + self.ties


def win(wins: int, losses: int, ties: int = 0, confidence: float = 0.95) -> Win:
    """Return the win rate of so many wins, losses and ties. Raises UsageError where nothing was compared."""
    count = wins + losses + ties
    if not count:
        raise UsageError("no pair was compared; give prompts to which the two models answer differently")
    rate = (wins + ties / 2) / count
    low, high = interval(rate, count, confidence)
    return Win(wins, losses, ties, rate, low, high, confidence, recommended=low > 0.5)


def interval(rate: float, count: int, confidence: float) -> tuple[float, float]:
    """Return Wilson's score interval of a share `rate` of `count`."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (rate + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def pairs(
    prompts: Sequence[Sequence[formats.Row]], a: Sequence[str], b: Sequence[str], seed: int = 0
) -> list[formats.Row]:
    """Return a row for each prompt with both models' answers in a random order; `shown` says whose is first and whose is second."""
    rows = []
    for number, (prompt, first, second) in enumerate(zip(prompts, a, b, strict=True)):
        shown = [(A, first), (B, second)]
        random.Random(f"{seed}:{number}").shuffle(shown)
        outputs = [{"messages": [{"role": "assistant", "content": answer}]} for _, answer in shown]
        rows.append({"input": {"messages": list(prompt)}, "outputs": outputs, "shown": [name for name, _ in shown]})
    return rows


def judged(rows: Sequence[formats.Row], rank: Callable[[Sequence[formats.Row]], list[Ranks]]) -> Win:
    """Return A's win rate by a judge's word on `rows`; two answers that are the same tie, and the judge is not asked."""
    apart = [row for row in rows if len({_answer(output) for output in row["outputs"]}) > 1]
    found = rank(apart) if apart else []
    return counted([(row["shown"], ranks[0]) for row, ranks in zip(apart, found, strict=True)], len(rows) - len(apart))


def labelled(path: str) -> Win:
    """Return A's win rate by a person's ranks in the file at `path`, made from `pairs`. Raises UsageError, naming the line, at another row.

    A pair that the person ranked equal is not in such a file, so ties are not known.
    """
    found = []
    for line, row in formats.read(path):
        ranks: list[Any] = [one.get("rank") if isinstance(one, dict) else None for one in row.get("outputs") or []]
        if (
            sorted(map(str, row.get("shown") or [])) != [A, B]
            or len(ranks) != 2
            or not all(isinstance(r, int) for r in ranks)
        ):
            raise UsageError(
                f"{path}:{line}: is no ranked pair; rank the file of `chaintune eval win --out` with `chaintune data label`"
            )
        found.append((row["shown"], ranks))
    return counted(found)


def counted(ranked: Sequence[tuple[Sequence[str], Sequence[int]]], ties: int = 0) -> Win:
    """Return A's win rate from (who is first and second, their ranks) of each pair, and so many ties beside."""
    gaps = [ranks[list(shown).index(B)] - ranks[list(shown).index(A)] for shown, ranks in ranked]
    return win(sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps), ties + sum(gap == 0 for gap in gaps))


def _answer(output: formats.Row) -> str:
    text: str = output["messages"][-1]["content"]
    return text.strip()
