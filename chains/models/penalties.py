"""What a request does to a row's logits before anything is cut off: a bias on single tokens, and penalties on tokens already seen.

A row's logits are (V,); everything here changes them in place and touches only the tokens it names.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import torch


class Seen:
    """The distinct tokens seen so far and how often each came, as tensors that follow the logits to their device."""

    def __init__(self, tokens: Iterable[int] = ()) -> None:
        counts = Counter(tokens)
        self._place = {token: place for place, token in enumerate(counts)}
        self._tokens = torch.tensor(list(counts), dtype=torch.long)  # (N,)
        self._counts = torch.tensor(list(counts.values()), dtype=torch.float32)  # (N,)

    def add(self, token: int) -> None:
        if token in self._place:
            self._counts[self._place[token]] += 1
            return
        self._place[token] = len(self._place)
        self._tokens = torch.cat([self._tokens, self._tokens.new_tensor([token])])
        self._counts = torch.cat([self._counts, self._counts.new_ones(1)])

    def on(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens and their counts, (N,) each, on `device`."""
        self._tokens, self._counts = self._tokens.to(device), self._counts.to(device)
        return self._tokens, self._counts


def add_bias(logits: torch.Tensor, values: Mapping[int, float]) -> None:
    """Add each token's value to its logit; -100 bans the token, whatever the logits' scale."""
    tokens = torch.tensor(list(values), dtype=torch.long, device=logits.device)
    added = [float("-inf") if value == -100 else value for value in values.values()]
    logits[tokens] += torch.tensor(added, dtype=logits.dtype, device=logits.device)


def repetition(logits: torch.Tensor, seen: Seen, penalty: float) -> None:
    """Divide a seen token's logit by `penalty` where it is above 0, multiply it where it is below.

    CTRL (arXiv 1909.05858) section 4.1, with transformers' reading of it for logits below 0.
    """
    tokens, _ = seen.on(logits.device)
    values = logits[tokens]
    logits[tokens] = torch.where(values < 0, values * penalty, values / penalty)


def presence_and_frequency(logits: torch.Tensor, said: Seen, presence: float, frequency: float) -> None:
    """Take `presence` + count x `frequency` from the logit of each token said: the formula of OpenAI's API reference."""
    tokens, counts = said.on(logits.device)
    logits[tokens] -= presence + frequency * counts
