"""The prompts that a policy is asked during reinforcement learning: as tokens, in which order, and by which random streams."""

from collections.abc import Sequence
from typing import Any

import torch

from chains.errors import UsageError
from tuning import encode, formats


def prompt_ids(
    tokenizer: Any, context: int, prompts: Sequence[list[formats.Row]], path: str, max_tokens: int
) -> list[list[int]]:
    """Return every prompt's tokens. Raises UsageError, naming the line in `path`, at one that leaves no room for `max_tokens`."""
    found = []
    for index, messages in enumerate(prompts):
        ids = encode.render(tokenizer, messages, prompt=True)
        if len(ids) + max_tokens > context:
            raise UsageError(
                f"{formats.place(path, index)}: the prompt is {len(ids)} tokens long and an answer may take "
                f"{max_tokens}, more than the models' context of {context}; shorten the prompt or lower max_tokens"
            )
        found.append(ids)
    return found


def turn(prompts: int, count: int, i: int, seed: int) -> list[int]:
    """Return which `count` of `prompts` round i asks: every prompt comes once before any comes twice."""
    chosen = []
    for number in range(i * count, (i + 1) * count):
        time, place = divmod(number, prompts)
        order = torch.randperm(prompts, generator=torch.Generator().manual_seed(seed * 1_000_003 + time))
        chosen.append(int(order[place]))
    return chosen


def streams(count: int, i: int, seed: int) -> list[int]:
    """Return the seeds of round i's `count` answers; no two answers of a run share one."""
    return [seed * 2**32 + i * count + number for number in range(count)]


def minibatches(count: int, size: int, epochs: int, i: int, seed: int) -> list[torch.Tensor]:
    """Return round i's minibatches as places among `count`: each epoch in an order of its own."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + i + 1)
    orders = [torch.randperm(count, generator=generator) for _ in range(epochs)]
    return [places for order in orders for places in order.split(size)]


def warmup(i: int, iterations: int) -> float:
    """Return the share of the peak rate in round i: from a tenth to 1 over the first rounds (InstructGPT, arXiv 2203.02155, C.4)."""
    return 1.0 if i >= iterations else 0.1 + 0.9 * i / iterations
