"""Faster linear layers, for a model that serves and for one that learns; both swap a layer's class and leave its weights what they are.

Serving, a layer takes weights that oneDNN has put in its own order. On the CPUs where it was measured (one AMD Zen 5 core) that product is
1.2 to 2.9 times as fast as torch's own in bfloat16 for 1 to 32 rows, and 2 to 2.9 times in float32, where torch takes MKL; so a probe of some
milliseconds decides, once a process and dtype. A packed copy is made anew when the weights have changed. Learning, a layer multiplies its
own weights through `products`. A layer may do both: it packs inside an engine's forward alone.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from transformers.activations import NewGELUActivation
from transformers.pytorch_utils import Conv1D

from chains.models import mapped, products

ROWS = 32
"""The packed order is chosen for products of this many rows; fewer and more do as well with it."""
GAIN = 1.1
"""Packed weights are worth their memory where the probe's product is this much faster."""
SMALLEST = 2**14
"""A weight of fewer numbers is left alone."""

_serving = threading.local()


@contextmanager
def serving() -> Iterator[None]:
    """Let this thread's forwards use packed weights while the block runs."""
    before = getattr(_serving, "on", False)
    _serving.on = True
    try:
        yield
    finally:
        _serving.on = before


def accelerate(model: Any, keep: bool = True) -> int:
    """Let a model's linear layers multiply with packed weights, where that is faster here; return how many do.

    `keep` leaves the plain weights beside the packed copies, as a model that is also trained or saved needs. Without it they are given
    up, except those that the embedding shares: such a model can serve, and nothing else.
    """
    if model.device.type != "cpu" or not worth_packing(model.dtype):
        return 0
    layers = _swapped(model)
    shared = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for layer in layers:
        layer.packs = True
        if not keep and id(layer.weight) not in shared:
            _give_up(layer)
    return len(layers)


def accelerate_learning(model: Any) -> int:
    """Let a model's linear layers multiply, forward and backward, by this machine's fastest products; return how many do."""
    layers = _swapped(model)
    for module in model.modules():
        if isinstance(module, FusedGELU):
            module.learns = True
    if not products.available():
        return 0
    for layer in layers:
        layer.learns = True
    return len(layers)


def _swapped(model: Any) -> list[Any]:
    for module in model.modules():
        if type(module) is NewGELUActivation:
            module.__class__ = FusedGELU
        elif type(module) in _FAST and module.weight.numel() >= SMALLEST:
            module.__class__ = _FAST[type(module)]
    return [module for module in model.modules() if isinstance(module, FastLinear | FastConv1D)]


def forget(model: Any) -> None:
    """Drop the packed copies of weights that are still there; they are made again when they are needed."""
    for module in model.modules():
        if "_copy" in module.__dict__ and not module.__dict__["_copy"].only:
            del module.__dict__["_copy"]


def _give_up(layer: Any) -> None:
    """Leave of a plain weight its shape and a number that spoils whatever is computed with it."""
    copy = _Copy(layer.weight, transposed=isinstance(layer, Conv1D))
    mapped.drop(layer.weight)
    nothing = torch.full((), torch.nan, dtype=layer.weight.dtype).expand(layer.weight.shape)
    layer.weight = nn.Parameter(nothing, requires_grad=False)
    copy.source, copy.version, copy.only = layer.weight, _version(layer.weight), True
    layer.__dict__["_copy"] = copy


@lru_cache
def worth_packing(dtype: torch.dtype) -> bool:
    """Say whether packed weights are faster on this machine, by a probe of some milliseconds."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    with torch.inference_mode():
        x, weight = torch.randn(ROWS, 512).to(dtype), torch.randn(1024, 512).to(dtype)
        try:
            packed = _pack(weight)
            faster = _best_s(lambda: products.product(x, packed, None)) * GAIN < _best_s(
                lambda: nn.functional.linear(x, weight)
            )
        except (RuntimeError, AttributeError):  # private operators: another torch may not have them
            return False
        return faster and torch.allclose(
            products.product(x, packed, None), nn.functional.linear(x, weight), rtol=2e-2, atol=1
        )


class _Copy:
    """A packed weight, and the weight as it was when it was packed."""

    def __init__(self, weight: torch.Tensor, transposed: bool) -> None:
        self.only = False  # the plain weight has been given up
        self.source = weight
        self.version = _version(weight)
        with torch.inference_mode():
            plain = weight.detach()
            self.packed = _pack(plain.t().contiguous() if transposed else plain)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Be nothing in a copy of the layer, which packs its own."""
        if self.only:
            raise TypeError(
                "a model that only serves has given up its plain weights and cannot be copied; load it again"
            )
        return type(None), ()

    def fits(self, weight: torch.Tensor) -> bool:
        """Say whether the weight is still the one that was packed."""
        return self.source is weight and self.version == _version(weight)


def _version(weight: torch.Tensor) -> int:
    return 0 if weight.is_inference() else weight._version


class FastLinear(nn.Linear):
    """A linear layer that multiplies with a packed copy of its weight while it serves, and through oneDNN while it learns."""

    packs = learns = False

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return input W^T + b."""
        if _packs(self):
            return products.product(input, _copy(self, transposed=False), self.bias)
        if self.learns and products.applies(input, self.weight):
            return products.linear(input, self.weight, self.bias, transposed=False)
        return super().forward(input)


class FastConv1D(Conv1D):
    """GPT-2's linear layer, whose weight lies the other way round, made fast in the same two ways."""

    packs = learns = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x W + b."""
        if _packs(self):
            return products.product(x, _copy(self, transposed=True), self.bias)
        if self.learns and products.applies(x, self.weight):
            return products.linear(x, self.weight, self.bias, transposed=True)
        return super().forward(x)


class FusedGELU(NewGELUActivation):
    """GPT-2's activation, which is torch's own GELU by tanh, in one operation while it serves, and where it learns."""

    learns = False

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return GELU(input) by its tanh approximation (arXiv 1606.08415)."""
        if self.learns or getattr(_serving, "on", False):
            return nn.functional.gelu(input, approximate="tanh")
        return super().forward(input)


_FAST: dict[type, type] = {nn.Linear: FastLinear, Conv1D: FastConv1D}


def _packs(layer: Any) -> bool:
    if not layer.packs:
        return False
    copy = layer.__dict__.get("_copy")
    return getattr(_serving, "on", False) or (copy is not None and copy.only)


def _copy(layer: Any, transposed: bool) -> torch.Tensor:
    copy: _Copy | None = layer.__dict__.get("_copy")
    if copy is None or not copy.fits(layer.weight):
        copy = layer.__dict__["_copy"] = _Copy(layer.weight, transposed)
    return copy.packed


def _pack(weight: torch.Tensor) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
    return packed


def _best_s(call: Any) -> float:
    times = []
    for _ in range(30):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)
