"""Faster float32 products in training: forward and both backwards of a linear layer through oneDNN, where torch's own take MKL.

On AMD's CPUs MKL leaves half of the machine unused: one Zen 5 core does 100 GFLOP/s in torch's products and 220 through oneDNN, in
the same IEEE float32. The choice is by the CPU's maker and not by a clock, so that a run that goes on later multiplies as it did before.
"""

import platform
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.activations import NewGELUActivation
from transformers.pytorch_utils import Conv1D

SMALLEST = 2**14
"""A weight of fewer numbers is left alone: the call costs more than the product."""


def accelerate(model: Any) -> int:
    """Let the model's linear layers multiply through oneDNN and GPT-2's activation run as one operation; return how many layers do."""
    for module in model.modules():
        if type(module) is NewGELUActivation:
            module.__class__ = FusedGELU
    if not available():
        return 0
    layers = [module for module in model.modules() if type(module) in _QUICK and module.weight.numel() >= SMALLEST]
    for layer in layers:
        layer.__class__ = _QUICK[type(layer)]
    return len(layers)


@lru_cache
def available() -> bool:
    """Return whether torch's products take MKL on a CPU where it is slow, and oneDNN's are there."""
    if platform.machine() != "x86_64" or not torch.backends.mkldnn.is_available() or not _amd():
        return False
    try:
        return torch.allclose(_product(torch.ones(2, 16), torch.ones(4, 16), None), torch.full((2, 4), 16.0))
    except (RuntimeError, AttributeError):  # a private operator: another torch may not have it
        return False


def _amd() -> bool:
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


class QuickLinear(nn.Linear):
    """A linear layer with its products through oneDNN."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return input W^T + b."""
        if not _applies(input, self.weight):
            return super().forward(input)
        out: torch.Tensor = _Linear.apply(input.flatten(0, -2), self.weight, self.bias, False)
        return out.unflatten(0, input.shape[:-1])


class QuickConv1D(Conv1D):
    """GPT-2's linear layer, whose weight lies the other way round, with its products through oneDNN."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x W + b."""
        if not _applies(x, self.weight):
            return super().forward(x)
        out: torch.Tensor = _Linear.apply(x.flatten(0, -2), self.weight, self.bias, True)
        return out.unflatten(0, x.shape[:-1])


class FusedGELU(NewGELUActivation):
    """GPT-2's activation, which is torch's own GELU by tanh, in one operation."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return GELU(input) by its tanh approximation (arXiv 1606.08415)."""
        return nn.functional.gelu(input, approximate="tanh")


_QUICK: dict[type, type] = {nn.Linear: QuickLinear, Conv1D: QuickConv1D}


def _applies(x: torch.Tensor, weight: torch.Tensor) -> bool:
    return x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu" and x.ndim > 1


class _Linear(torch.autograd.Function):
    """y = x W^T + b for x (M, k) and weight (n, k), or (k, n) where `transposed`."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, transposed: bool
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.transposed = transposed
        return _product(x, weight.t() if transposed else weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        to_x, to_weight, to_bias = (None,) * 3
        if ctx.needs_input_grad[0]:
            to_x = _product(gradient, weight if ctx.transposed else weight.t(), None)
        if ctx.needs_input_grad[1]:
            left, right = (x, gradient) if ctx.transposed else (gradient, x)
            to_weight = _product(left.t(), right.t(), None)
        if ctx.needs_input_grad[2]:
            to_bias = gradient.sum(dim=0)
        return to_x, to_weight, to_bias, None


def _product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return x W^T + b; either may be a transposed view."""
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product
