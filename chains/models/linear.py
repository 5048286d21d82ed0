"""Faster products for a model that serves: its linear layers take weights that oneDNN has put in its own order.

On the CPUs where it was measured (one AMD Zen 5 core) a product with packed weights is 1.2 to 2.9 times as fast as torch's own in bfloat16 for 1 to
32 rows, and 2 to 2.9 times in float32, where torch takes MKL; so a probe of some milliseconds decides, once a process and dtype. Outside an
engine's forward the layers are what they were: training sees its own weights, and a packed copy is made anew when they have changed.
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
    layers = [module for module in model.modules() if type(module) in _PACKED and module.weight.numel() >= SMALLEST]
    shared = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for layer in layers:
        layer.__class__ = _PACKED[type(layer)]
        if not keep and id(layer.weight) not in shared:
            _give_up(layer)
    for module in model.modules():
        if type(module) is NewGELUActivation:
            module.__class__ = FusedGELU
    return len(layers)


def forget(model: Any) -> None:
    """Drop the packed copies of weights that are still there; they are made again when they are needed."""
    for module in model.modules():
        if "_copy" in module.__dict__ and not module.__dict__["_copy"].only:
            del module.__dict__["_copy"]


def _give_up(layer: Any) -> None:
    """Leave of a plain weight its shape and a number that spoils whatever is computed with it."""
    copy = _Copy(layer.weight, transposed=isinstance(layer, Conv1D))
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
            faster = _best_s(lambda: _product(x, packed, None)) * GAIN < _best_s(
                lambda: nn.functional.linear(x, weight)
            )
        except (RuntimeError, AttributeError):  # private operators: another torch may not have them
            return False
        return faster and torch.allclose(_product(x, packed, None), nn.functional.linear(x, weight), rtol=2e-2, atol=1)


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


class PackedLinear(nn.Linear):
    """A linear layer that multiplies with a packed copy of its weight while it serves."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return input W^T + b."""
        if not _packs(self):
            return super().forward(input)
        return _product(input, _copy(self, transposed=False), self.bias)


class PackedConv1D(Conv1D):
    """GPT-2's linear layer, whose weight lies the other way round, with a packed copy of it while it serves."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x W + b."""
        if not _packs(self):
            return super().forward(x)
        return _product(x, _copy(self, transposed=True), self.bias)


class FusedGELU(NewGELUActivation):
    """GPT-2's activation, which is torch's own GELU by tanh, in one operation while it serves."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return GELU(input) by its tanh approximation (arXiv 1606.08415)."""
        if not getattr(_serving, "on", False):
            return super().forward(input)
        return nn.functional.gelu(input, approximate="tanh")


_PACKED: dict[type, type] = {nn.Linear: PackedLinear, Conv1D: PackedConv1D}


def _packs(layer: Any) -> bool:
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


def _product(x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return product


def _best_s(call: Any) -> float:
    times = []
    for _ in range(30):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)
