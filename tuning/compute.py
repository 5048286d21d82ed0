"""The numbers in which a model is trained: its float32 weights as they are, or a bfloat16 copy that computes for them.

    compute = Compute(model, "bfloat16")
    with compute.working() as copy:                   # the copy has the weights of this moment
        loss(copy).backward()
    optimizer.update(rate)                  # the float32 weights have the gradients

Updates smaller than bfloat16 can tell apart are not lost, because the optimiser moves the float32 weights.
"""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from tuning import devices, packing, sharded
from tuning.forward import recompute_activations


class Compute:
    """A model that trains, and what computes its gradients."""

    def __init__(self, model: Any, dtype: str = "float32", packed: bool = True, recompute: bool = False) -> None:
        self.master = model
        sharded.spread(model, dtype)
        self.packed = packed and _packs(model)
        trains = all(p.requires_grad for p in model.parameters())
        self.model = half(model) if dtype == "bfloat16" and trains and not devices.sharding() else model
        # a frozen base is in bfloat16 itself, and a divided model comes together in it
        if recompute:
            recompute_activations(self.model)

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Yield what computes, with the weights of this moment; gradients that it gets later are the weights' after `collect`."""
        self.refresh()
        with packing.attending(self.model) if self.packed else nullcontext():
            yield self.model

    @contextmanager
    def working(self) -> Iterator[Any]:
        """Yield what computes, with the weights of this moment; the gradients that it gets are the weights' when the block ends."""
        with self.reading() as model:
            yield model
        self.collect()

    @torch.no_grad()
    def refresh(self) -> None:
        """Give what computes the weights of this moment. A forward that waits for its backward stays good while they do not change."""
        if self.model is self.master:
            return
        self.model.train(self.master.training)
        for mine, its in zip(self.model.parameters(), self.master.parameters(), strict=True):
            mine.data.copy_(its)  # autograd does not count it: the same numbers again spoil no graph

    @torch.no_grad()
    def collect(self) -> None:
        """Move the gradients from what computes onto the weights that train."""
        if self.model is self.master:
            return
        for mine, its in zip(self.model.parameters(), self.master.parameters(), strict=True):
            if mine.grad is not None:
                its.grad = mine.grad.float() if its.grad is None else its.grad.add_(mine.grad)
                mine.grad = None


def _packs(model: Any) -> bool:
    if why := sharded.within(model, lambda: packing.refusal(model)):
        warnings.warn(f"{type(model).__name__} is trained with padding: {why}", stacklevel=3)
    return why is None


def half(model: Any) -> Any:
    """Return a copy of the model with its parameters in bfloat16; its buffers, such as rotary frequencies, stay what they are.

    So does a scalar head, which reads its trunk in float32: a value of 1 would be rounded to 1/128, more than what PPO has to tell apart.
    """
    return halved(copy.deepcopy(model))


def halved(model: Any) -> Any:
    """Return the model itself, changed as `half` says."""
    head = getattr(model, "score", None)
    exact = set() if head is None else set(head.parameters())
    for parameter in model.parameters():
        if parameter not in exact:
            parameter.data = parameter.data.bfloat16()
    if head is not None:
        head.register_forward_pre_hook(_in_float32)
    return model


def _in_float32(head: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (given[0].float(),)
