"""A model whose attention is another function for a while: how packed forwards, of the engine and of training, run any model's own code."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def attending(model: Any, name: str) -> Iterator[None]:
    """Give the model the attention that transformers' AttentionInterface knows as `name` while the block runs."""
    config = model.config.get_text_config()
    kept = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = kept
