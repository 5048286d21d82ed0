"""Runs rows one by one through the model's own forward: for models that do not hand their attention over.

A row keeps transformers' own cache. A model without one (openai-gpt), or whose cache does not give what a whole forward gives, reads
everything again for each token: right, and slow.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from transformers import DynamicCache

from chains.models import adapters
from chains.models.packed import alone
from chains.models.row import Fill, GivenUp, Row


class PlainRunner:
    """The caches of the rows in flight, for one model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._caches: dict[int, Any] = {}
        self.caches = _can_cache(model)

    @property
    def reused(self) -> int:
        """Nothing is shared here."""
        return 0

    @property
    def kept(self) -> int:
        """Nothing is kept here."""
        return 0

    def enter(self, row: Row, waiting: Iterable[Row]) -> Fill | None:
        """Give a row an empty cache."""
        if self.caches:
            self._caches[id(row)] = DynamicCache(config=self._model.config)
        return None

    def leave(self, row: Row) -> None:
        """Drop a row's cache."""
        self._caches.pop(id(row), None)

    def filled(self, fill: Fill) -> None:
        """Never called: nothing is shared here."""

    def run(
        self, decoding: list[Row], reading: list[tuple[Row | Fill, int]], unwanted: Callable[[], bool]
    ) -> torch.Tensor:
        """Run each row's own forward; see Runner."""
        logits = [self._next(row, row.tokens[-1:]) for row in decoding]
        for reader, count in reading:
            assert isinstance(reader, Row)
            if unwanted():
                raise GivenUp
            said = self._next(reader, reader.unread[:count].tolist())
            if count == len(reader.unread):
                logits.append(said)
        return torch.stack(logits) if logits else torch.empty(0)

    def forget(self) -> None:
        """Nothing is kept between rows."""

    def release(self) -> None:
        """Nothing is kept between rows."""

    def _next(self, row: Row, ids: list[int]) -> torch.Tensor:
        """Return the logits (V,) after a row's next tokens."""
        cache = self._caches.get(id(row))
        if cache is None:
            ids, start = [*row.known.tolist(), *ids], 0
        else:
            start = row.read
            if cache.get_seq_length() > start:
                cache.crop(start)  # where a forward failed half-way, its tokens are written again
        with adapters.active(self._model, row.request.adapter):
            return _forward(self._model, ids, start, cache)


def _can_cache(model: Any) -> bool:
    """Say whether the model's cache gives what a whole forward gives."""
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        return False
    ids = [token % model.config.get_text_config().vocab_size for token in (11, 7, 5, 13)]
    with torch.inference_mode():
        whole = _forward(model, ids, 0, None)
        try:
            cache = DynamicCache(config=model.config)
            _forward(model, ids[:2], 0, cache)
            pieces = _forward(model, ids[2:], 2, cache)
        except Exception:  # code of any model: whatever it raises, it is run without a cache
            return False
    return torch.allclose(whole.float(), pieces.float(), rtol=1e-2, atol=1e-2)


def _forward(model: Any, ids: list[int], start: int, cache: Any) -> torch.Tensor:
    device = model.device
    given: dict[str, Any] = {"input_ids": torch.tensor([ids], device=device)}
    if cache is not None:
        mask = torch.ones(1, start + len(ids), dtype=torch.long, device=device)
        given |= {"past_key_values": cache, "use_cache": True, "attention_mask": mask}
    with alone(model):
        logits: torch.Tensor = model(**given).logits
    return logits[0, -1]
