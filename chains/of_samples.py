"""What the chains that choose among samples of another chain have in common."""

from collections.abc import Mapping
from typing import Any

from chains.chain import Chain
from chains.errors import UsageError
from chains.samples import sampler, taken


class OfSamples(Chain):
    """Draws `n` samples of `chain`, with `settings` for each call; it makes what the chain makes, and the outcome."""

    def __init__(self, chain: Any, n: int, *, seed: int | None, outcome_key: str, settings: Mapping[str, Any]) -> None:
        if n < 1:
            raise UsageError(f"n={n} cannot be used; give at least 1 sample")
        self.n = n
        self._sampler = sampler(chain, seed, settings)
        self.chain = self._sampler.chain
        self.outcome_key = outcome_key
        self.input_keys, self.optional_keys = self.chain.input_keys, self.chain.optional_keys
        self.output_keys = (*self.chain.output_keys, outcome_key)
        taken(outcome_key, (*self.input_keys, *self.optional_keys, *self.chain.output_keys))

    def _main_key(self) -> str:
        return self._sampler.key
