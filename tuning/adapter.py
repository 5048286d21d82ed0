"""A LoRA policy: the base's weights stay, and a low-rank change of every linear layer is trained (arXiv 2106.09685).

With the change switched off the model is what it started as; so it is its own KL reference, and no second copy is in memory.
"""

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

NAME = "default"


def put_on(model: Any, rank: int, alpha: int, seed: int) -> Any:
    """Return `model` with a fresh adapter of `rank` on every linear layer; only the adapter trains, and it changes nothing yet."""
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GPT-2's layers lie the other way round, which peft sees and says
        torch.manual_seed(seed)
        return get_peft_model(model, settings).eval()


def name(model: Any) -> str | None:
    """Return the adapter's name for an engine's request; None for a model that has none."""
    return NAME if hasattr(model, "peft_config") else None


def off(model: Any) -> AbstractContextManager[None]:
    """Return a block in which the model is what it was before its adapter was trained."""
    if name(model) is None:
        return nullcontext()
    switched: AbstractContextManager[None] = model.disable_adapter()
    return switched


def merged(model: Any) -> Any:
    """Return the model with its adapter's change in its weights, as the registry keeps it; one without an adapter as it is."""
    return model if name(model) is None else model.merge_and_unload()
