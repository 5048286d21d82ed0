"""The models in memory: each is loaded once, off the event loop, shared by all requests, and the one not used for longest goes
when the next would not fit the budget."""

import asyncio
import gc
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.server import calm
from apps.server.errors import ApiError
from apps.server.settings import Settings
from chains.errors import UsageError
from chains.models import registry, weights

if TYPE_CHECKING:
    from chains.models.local_chat import LocalChat
    from chains.models.scorer import Scorer


class Warm:
    """The chat models and scorers that are loaded, by name, least recently used first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._stamps: dict[str, int] = {}
        self._loading = asyncio.Lock()

    def names(self) -> list[str]:
        """Return the names of what is loaded."""
        return list(self._held)

    def bytes(self) -> int:
        """Return what the loaded weights fill."""
        return sum(size for _, size in self._held.values())

    def chats(self) -> "list[LocalChat]":
        """Return the loaded chat models."""
        return [model for model, _ in self._held.values() if hasattr(model, "engine")]

    async def chat(self, name: str) -> "LocalChat":
        """Return the chat model `name`, loaded. Raises ApiError where it is no chat model that is served here."""
        model = await self._get(name)
        if not hasattr(model, "engine"):
            raise ApiError(400, f"{name!r} is a reward model, which scores; use /v1/score", "model_not_chat", "model")
        return model

    async def scorer(self, name: str) -> "Scorer":
        """Return the reward model `name`, loaded. Raises ApiError where it is none."""
        model = await self._get(name)
        if hasattr(model, "engine"):
            raise ApiError(400, f"{name!r} is a chat model and scores nothing", "model_not_reward", "model")
        return model

    async def _get(self, name: str) -> Any:
        self._check(name)
        if name not in self._held:
            async with self._loading:  # one at a time: two would both count on the same free memory
                if name not in self._held:
                    await self._load(name)
        self._held.move_to_end(name)
        return self._held[name][0]

    def _check(self, name: str) -> None:
        """Raise ApiError where the model is not served, and let go of one whose weights on disk have changed."""
        source, _ = served(name, self._settings)
        if name in self._held and self._stamps[name] != weights.changed(source):
            self.drop(name)

    async def _load(self, name: str) -> None:
        await asyncio.to_thread(calm.libraries)
        source, kind = served(name, self._settings)
        size = await asyncio.to_thread(stored_bytes, source)
        if size > self._settings.budget:
            raise ApiError(
                503, f"{name!r} needs {size} bytes and the server may use {self._settings.budget}; raise --memory-gib"
            )
        while self._held and self.bytes() + size > self._settings.budget:
            self.drop(next(iter(self._held)))
            await asyncio.to_thread(gc.collect)
        self._stamps[name] = weights.changed(source)
        make = self._scorer if kind == "reward" else self._chat
        with calm.loading():
            self._held[name] = await asyncio.to_thread(make, name), size

    def drop(self, name: str) -> None:
        """Let a model go; a request that has it ends with it."""
        from chains.models import scorer

        if self._held.pop(name, None):
            weights.forget()
            scorer.forget()

    def _chat(self, name: str) -> Any:
        from chains.models.load import load_model

        model: Any = load_model(name, max_batch=self._settings.max_batch)
        model.engine.max_queue = self._settings.max_batch + self._settings.max_waiting
        return model

    def _scorer(self, name: str) -> Any:
        from chains.models.scorer import load_scorer

        return load_scorer(name)


def served(name: str, settings: Settings) -> tuple[str, str]:
    """Return (source, kind) of a model that is served here: the registry's, and those named at the start; no other folder or hub id.

    Raises ApiError 404 for any other name.
    """
    if name in settings.models:
        return name.removeprefix("hf:"), "chat"
    try:
        entry = registry.find(name)
    except UsageError as error:
        said = (
            str(error) if name == "starter" else f"The model {name!r} does not exist or you do not have access to it."
        )
        raise ApiError(404, said, "model_not_found", "model") from None
    return entry.source, entry.kind


def stored_bytes(source: str) -> int:
    """Return what a model folder's weights fill in memory, in float32; 0 for a hub id, which may not be on this machine yet."""
    from safetensors import safe_open

    total = 0
    for file in Path(source).expanduser().glob("*.safetensors"):
        with safe_open(file, "numpy") as tensors:
            total += sum(4 * _count(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
    return total


def _count(shape: list[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
