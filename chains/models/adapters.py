"""Which LoRA adapter of a shared base model answers."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from chains.errors import UsageError


@contextmanager
def active(model: Any, name: str | None) -> Iterator[None]:
    """Run the block with one of the model's adapters, or with none. Raises UsageError where the model has no such adapter."""
    known = getattr(model, "peft_config", {})
    if name is not None and name not in known:
        raise UsageError(f"the model has no adapter {name!r}; have {', '.join(map(repr, known)) or 'none'}")
    if name is not None and model.active_adapter != name:
        model.set_adapter(name)
    with model.disable_adapter() if known and name is None else nullcontext():
        yield
