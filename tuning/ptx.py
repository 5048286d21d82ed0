"""PPO-ptx: what the policy must not forget, its likelihood mixed into PPO's gradients (InstructGPT, arXiv 2203.02155, Eq. 2 and C.4).

The mix is `examples` times as many examples as a minibatch has answers (InstructGPT: 8). They are computed in parts of a minibatch's size
whose gradients add up to that of their mean, and one optimiser step takes PPO's gradient and theirs together.
"""

from collections.abc import Callable
from typing import Any

import torch

from tuning import encode, formats, pretrain
from tuning.compute import Compute
from tuning.sft import demonstration_loss, packed_loss

Part = Callable[[int], list[encode.Example]]
"""number -> part `number` of the examples."""


class Mix:
    """Adds the mixed-in gradient to a policy's: `coefficient` x the loss of `examples` examples for each answer."""

    def __init__(self, part: Part, coefficient: float, examples: int) -> None:
        self._part, self._coefficient, self._examples = part, coefficient, examples

    def backward(self, policy: Compute, number: int) -> float:
        """Add minibatch `number`'s gradient to the policy's parameters, and return the loss before its coefficient, in nats a token."""
        total = 0.0
        with policy.working() as model:
            for k in range(self._examples):
                part = self._part(number * self._examples + k)
                loss = (packed_loss if policy.packed else demonstration_loss)(model, part) / self._examples
                (self._coefficient * loss).backward()
                total += loss.item()
        return total


def mix(path: str, tokenizer: Any, context: int, minibatch: int, coefficient: float, examples: int, seed: int) -> Mix:
    """Return the mix of the file at `path`. Raises UsageError where it is too short to mix in, or a row cannot be learned.

    A file of text is InstructGPT's pretraining mix. A file of chat rows is the same for a model that was only ever taught by
    demonstrations: what it was shown is what PPO must not make it forget.
    """
    part = _chat if path.endswith((".jsonl", ".jsonl.gz")) else _text
    return Mix(part(path, tokenizer, context, minibatch, seed * 1_000_003), coefficient, examples)


def _chat(path: str, tokenizer: Any, context: int, minibatch: int, seed: int) -> Part:
    shown = encode.examples(tokenizer, formats.read_chat(path), path, context)

    def part(number: int) -> list[encode.Example]:
        generator = torch.Generator().manual_seed(seed + number)
        return [shown[i] for i in torch.randint(len(shown), (minibatch,), generator=generator).tolist()]

    return part


def _text(path: str, tokenizer: Any, context: int, minibatch: int, seed: int) -> Part:
    stream = pretrain.stream_of(path, tokenizer, context)
    return lambda number: pretrain.cut(stream, min(pretrain.WINDOW, context), minibatch, seed + number)
