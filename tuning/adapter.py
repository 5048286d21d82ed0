"""A LoRA policy: the base's weights stay, and a low-rank change of every linear layer is trained (arXiv 2106.09685).

With the change switched off the model is what it started as; so it is its own KL reference, and no second copy is in memory.
"""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from chains.models.engine import Engine
from tuning import placement

NAME = "default"


def put_on(model: Any, rank: int, alpha: int, seed: int) -> Any:
    """Return `model` with a fresh adapter of `rank` on every linear layer; only the adapter trains, and it changes nothing yet."""
    from peft import LoraConfig, get_peft_model

    from tuning import lowrank

    settings = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    with placement.random_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GPT-2's layers lie the other way round, which peft sees and says
        torch.default_generator.manual_seed(seed)  # peft draws on the CPU, wherever the base is
        wrapped = get_peft_model(model, settings).eval()
    lowrank.speed_up(wrapped)
    return wrapped


def on(model: Any) -> bool:
    """Return whether the model has an adapter."""
    return hasattr(model, "peft_config")


@contextmanager
@torch.no_grad()
def answering(engine: Engine, model: Any) -> Iterator[None]:
    """Let `engine`, which serves `model`, answer with the adapter's change while the block runs.

    The change is in the weights meanwhile, as in a published model, so that a token costs what it costs without an adapter; the layers
    it changes are twice in memory. Afterwards the base's weights are the tensors they were, to the bit.
    """
    if not on(model):
        yield
        return
    from peft.tuners.lora import Linear

    from tuning import lowrank

    layers = [module for module in model.modules() if isinstance(module, Linear)]
    changed: list[Any] = [layer.get_base_layer() for layer in layers]
    kept = [base.weight.data for base in changed]
    try:
        for layer, base in zip(layers, changed, strict=True):
            base.weight.data = lowrank.changed(layer)
        engine.weights_changed()
        yield
    finally:
        for base, weight in zip(changed, kept, strict=True):
            base.weight.data = weight
        engine.weights_changed()


def off(model: Any) -> AbstractContextManager[None]:
    """Return a block in which the model is what it was before its adapter was trained."""
    if not on(model):
        return nullcontext()
    switched: AbstractContextManager[None] = model.disable_adapter()
    return switched


def merged(model: Any) -> Any:
    """Return the model with its adapter's change in its weights, as the registry keeps it; one without an adapter as it is."""
    return model.merge_and_unload() if on(model) else model
