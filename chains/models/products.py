"""Faster float32 products: forward and both backwards of a linear layer through oneDNN, where torch's own take MKL.

On AMD's CPUs MKL leaves half of the machine unused: one Zen 5 core does 100 GFLOP/s in torch's products and 220 through oneDNN, in
the same IEEE float32. The choice is by the CPU's maker and not by a clock, so that a run that goes on later multiplies as it did before.
"""

import platform
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch


@lru_cache
def available() -> bool:
    """Return whether torch's products take MKL on a CPU where it is slow, and oneDNN's are there."""
    if platform.machine() != "x86_64" or not torch.backends.mkldnn.is_available() or not _amd():
        return False
    try:
        return torch.allclose(product(torch.ones(2, 16), torch.ones(4, 16), None), torch.full((2, 4), 16.0))
    except (RuntimeError, AttributeError):  # a private operator: another torch may not have it
        return False


def _amd() -> bool:
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def applies(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Return whether `linear` takes these: float32 on a CPU."""
    return x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu" and x.ndim > 1


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, transposed: bool) -> torch.Tensor:
    """Return x W^T + b for x (..., k) and a weight (n, k), or, where it is `transposed`, (k, n); gradients flow to all three."""
    out: torch.Tensor = _Linear.apply(x.flatten(0, -2), weight, bias, transposed)
    return out.unflatten(0, x.shape[:-1])


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return x W^T + b; either may be a transposed view, and the weight may be one that oneDNN has packed."""
    done: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return done


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, transposed: bool
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.transposed = transposed
        return product(x, weight.t() if transposed else weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        to_x, to_weight, to_bias = (None,) * 3
        if ctx.needs_input_grad[0]:
            to_x = product(gradient, weight if ctx.transposed else weight.t(), None)
        if ctx.needs_input_grad[1]:
            left, right = (x, gradient) if ctx.transposed else (gradient, x)
            to_weight = product(left.t(), right.t(), None)
        if ctx.needs_input_grad[2]:
            to_bias = gradient.sum(dim=0)
        return to_x, to_weight, to_bias, None
