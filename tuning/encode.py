"""Chat rows into token ids with a mask of what is learned, and ids into padded batches.

Shapes: B sequences, T positions. In a mask, 1 means: this token is predicted and counts in the loss.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from chains.errors import UsageError
from chains.models.scorer import through_end
from tuning import formats
from tuning.formats import Row


@dataclass(frozen=True)
class Example:
    """One conversation as tokens; `learned[t]` is 1 where token t was written by the assistant."""

    ids: list[int]
    learned: list[int]


def render(tokenizer: Any, messages: Sequence[Row], prompt: bool) -> list[int]:
    """Return the ids of `messages` by the tokenizer's chat template; `prompt` opens the assistant's next turn.

    Control tokens inside the messages' text stay text. A developer's message is a system's, as it is in a chat. Raises UsageError where
    the template refuses the conversation.
    """
    role = {"developer": "system"}
    turns = [{"role": role.get(m["role"], m["role"]), "content": m["content"]} for m in messages]
    try:
        return list(
            tokenizer.apply_chat_template(
                turns, add_generation_prompt=prompt, tokenize=True, return_dict=False, sanitize_control_tokens=True
            )
        )
    except Exception as error:  # a template may raise anything: jinja's errors, its own refusal of a role, a ValueError
        raise UsageError(f"the model's chat template refuses this conversation: {error}") from error


def example(tokenizer: Any, row: Row, context: int | None = None) -> Example:
    """Return the row's tokens, the assistant's own marked as learned, its end-of-turn token with them.

    Works with any chat template in which a conversation's beginning is a prefix, token by token, of the whole; one that breaks this is refused.
    A message with `weight` 0 is read but not learned. Raises UsageError where nothing would be learned or the row exceeds `context` tokens.
    """
    messages = row["messages"]
    ids = render(tokenizer, messages, prompt=False)
    learned = [0] * len(ids)
    for place, message in enumerate(messages):
        if message["role"] == "assistant" and message.get("weight", 1):
            before = render(tokenizer, messages[:place], prompt=True)
            through = render(tokenizer, messages[: place + 1], prompt=False)
            if ids[: len(through)] != through or through[: len(before)] != before:
                raise UsageError(
                    "this model's chat template does not keep the beginning of a conversation the same when a turn is added, "
                    "so the assistant's tokens cannot be told apart; use a template that only appends"
                )
            end = len(through_end(tokenizer, through))
            learned[len(before) : end] = [1] * (end - len(before))
    if context is not None and len(ids) > context:
        raise UsageError(f"a row is {len(ids)} tokens long and the model's context is {context}; shorten or split it")
    if not any(learned):
        raise UsageError("a row has no assistant message to learn from; add one, or give one of them weight 1")
    return Example(ids, learned)


def examples(
    tokenizer: Any, rows: Sequence[Row], path: str, context: int | None = None, places: Sequence[str] | None = None
) -> list[Example]:
    """Return every row's Example; an error names the row's place, by default `path` and its line there."""
    found = []
    for index, row in enumerate(rows):
        try:
            found.append(example(tokenizer, row, context))
        except UsageError as error:
            where = places[index] if places else formats.place(path, index)
            raise UsageError(f"{where}: {error}") from error
    return found


def pad(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the rows as one (B, T) tensor, padded on the right with 0. Causal attention never looks at the padding from a real token."""
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])


def batch_order(lengths: Sequence[int], batch_size: int, generator: torch.Generator, pool: int = 16) -> list[list[int]]:
    """Return one epoch's batches of row numbers: random, but rows of like length together, so that little is padding.

    Rows are shuffled, sorted by length within pools of `pool` batches, cut, and the batches shuffled. Every row comes once.
    """
    order: list[int] = torch.randperm(len(lengths), generator=generator).tolist()
    batches = []
    for first in range(0, len(order), batch_size * pool):
        part = sorted(order[first : first + batch_size * pool], key=lambda i: lengths[i])
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def epochs(lengths: Sequence[int], batch_size: int, seed: int, steps: int) -> Iterator[list[int]]:
    """Yield `steps` batches of row numbers, epoch after epoch; each epoch's order comes from (seed, epoch) alone."""
    epoch, given = 0, 0
    while True:
        for batch in batch_order(lengths, batch_size, torch.Generator().manual_seed(seed * 1_000_003 + epoch)):
            if given == steps:
                return
            yield batch
            given += 1
        epoch += 1
