"""Several answers to each prompt, for someone to rank: the first half of InstructGPT's second step (arXiv 2203.02155, section 3.5), K of 4 to 9.

A row is a rankings row without its ranks, {"input": {"messages"}, "outputs": [{"messages"}, …]}; `label` and `judge` put the ranks in.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from chains.errors import UsageError
from tuning.generate.ask import TOO_LONG, Asker, Messages, Reply, seed_of, too_long
from tuning.generate.journal import Event, Journal

Row = dict[str, Any]
Advance = Callable[[int, int, str], None]

FEWEST, MOST = 2, 9
_FEW = "fewer than two different answers"
TRIES = 3
"""How often a prompt is asked for the answers it lacks, since equal answers count once."""


@dataclass
class Made:
    """The rows so far, and why prompts have none."""

    rows: list[Row] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    prompts: int = 0


def counts(k: str) -> tuple[int, int]:
    """Return the fewest and the most answers of `4` or `4..9`. Raises UsageError unless both are whole numbers from 2 to 9, in order."""
    first, dots, last = k.partition("..")
    try:
        low, high = int(first), int(last if dots else first)
    except ValueError as error:
        raise UsageError(f"--k {k!r} is no number of answers; write 4, or 4..9 for 4 to 9") from error
    if not FEWEST <= low <= high <= MOST:
        raise UsageError(f"--k {k!r} cannot be ranked; give {FEWEST} to {MOST} answers, as in 4 or 4..9")
    return low, high


def sample(
    asker: Asker, prompts: Sequence[Messages], journal: Journal, *, k: tuple[int, int] = (4, 9), seed: int = 0,
    at_once: int = 64, temperature: float = 1.0, max_tokens: int = 256,
    advance: Advance = lambda done, total, note: None,
) -> Made:  # fmt: skip
    """Return a row of K different answers for each prompt, K drawn by `seed` from the range `k`; what `journal` holds is not asked again.

    About `at_once` answers are sampled together. A prompt that got fewer than two different answers has no row.
    """
    made = Made()

    def take(event: Event) -> None:
        made.prompts += len(event["rows"])
        made.rows += [row for row in event["rows"] if row]
        made.dropped.update(event["dropped"])
        advance(made.prompts, len(prompts), str(asker.usage))

    for event in journal.events:
        asker.usage.add(*event["usage"])
        take(event)
    while made.prompts < len(prompts):
        first = made.prompts
        batch = prompts[first : first + max(1, at_once // k[1])]
        wanted = [random.Random(f"{seed}:{first + place}").randint(*k) for place in range(len(batch))]
        streams = [_seeds(seed, first + place) for place in range(len(batch))]
        answers, long, used = _answers(asker, batch, wanted, streams, temperature=temperature, max_tokens=max_tokens)
        rows = [
            _row(prompt, said) if len(said) >= FEWEST else None for prompt, said in zip(batch, answers, strict=True)
        ]
        dropped = Counter(TOO_LONG if place in long else _FEW for place, row in enumerate(rows) if row is None)
        take(journal.add({"rows": rows, "dropped": dropped, "usage": used}))
    return made


def _answers(
    asker: Asker, batch: Sequence[Messages], wanted: Sequence[int], streams: Sequence[Iterator[int]], **sampling: Any
) -> tuple[list[list[str]], set[int], tuple[int, int]]:
    """Return up to `wanted` different answers to each prompt, the places of those that the model cannot read, and the tokens used.

    Every sample has a seed of its own.
    """
    found: list[list[str]] = [[] for _ in batch]
    long: set[int] = set()
    read = written = 0
    for _ in range(TRIES):
        asked = [
            place for place, said in enumerate(found) if place not in long for _ in range(wanted[place] - len(said))
        ]
        if not asked:
            break
        replies = asker.ask([batch[place] for place in asked], [next(streams[place]) for place in asked], **sampling)
        read, written = read + asker.last[0], written + asker.last[1]
        for place, reply in zip(asked, replies, strict=True):
            if too_long(reply):
                long.add(place)
            said = reply.text.strip() if isinstance(reply, Reply) else ""
            if said and said not in found[place]:
                found[place].append(said)
    return found, long, (read, written)


def _seeds(seed: int, prompt: int) -> Iterator[int]:
    """Yield the seeds of a prompt's samples, as many as are asked for."""
    return (seed_of(seed, "answer", prompt, number) for number in count())


def _row(prompt: Messages, answers: Sequence[str]) -> Row:
    outputs = [{"messages": [{"role": "assistant", "content": answer}]} for answer in answers]
    return {"input": {"messages": [dict(message) for message in prompt]}, "outputs": outputs}


def read_unranked(rows: Sequence[tuple[str, Row]]) -> list[Row]:
    """Return rankings rows whatever their ranks, from (place, row) pairs. Raises UsageError, naming the place, at one that has no answers."""
    for place, row in rows:
        answers_of(place, row)
    return [row for _, row in rows]


def answers_of(place: str, row: Row) -> list[str]:
    """Return the answers of a rankings row. Raises UsageError, naming `place`, where there are not 2 to 9 of one message each."""
    try:
        prompt = row["input"]["messages"]
        answers = [output["messages"][0]["content"] for output in row["outputs"]]
        good = bool(prompt) and all(isinstance(m["role"], str) and isinstance(m["content"], str) for m in prompt)
    except (KeyError, TypeError, IndexError):
        good, answers = False, []
    if not good or not all(isinstance(answer, str) for answer in answers) or not FEWEST <= len(answers) <= MOST:
        raise UsageError(
            f'{place}: is no prompt with {FEWEST} to {MOST} answers; expected {{"input": {{"messages"}}, "outputs": [{{"messages"}}, …]}}, '
            "as `chaintune data rank` makes it"
        )
    return answers
