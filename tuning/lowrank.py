"""A LoRA layer that costs what the layer costs: its change goes into a weight of the moment, so that there is one product where peft has three.

    y = x (W + s B A)^T + b

The changed weight is made for a forward, given up, and made again for the backward, which is one hundredth of the layer's own product; the
weight's gradient is never made, only the adapter's, by products as narrow as its rank. A model samples by the same changed weights
(`adapter.answering`), so that what is learned from is what was sampled with, to the bit, in bfloat16 too. Shapes: N tokens, k in, n out, r rank.
"""

from typing import Any, cast

import torch
from peft.tuners.lora import Linear
from transformers.pytorch_utils import Conv1D

from chains.models import products


class OneProduct(Linear):
    """peft's LoRA layer over a plain linear layer, with its change in the weight that it multiplies with."""

    def forward(self, x: torch.Tensor, *given: Any, **more: Any) -> torch.Tensor:
        """Return x (W + s B A)^T + b, or, switched off, what the base says."""
        if self.disable_adapters or self.merged or given or more:
            return super().forward(x, *given, **more)
        out: torch.Tensor = _Changed.apply(x.flatten(0, -2), cast(Any, self.get_base_layer()).bias, *_parts(self))
        return out.unflatten(0, x.shape[:-1])


def speed_up(model: Any) -> int:
    """Let the model's LoRA layers over plain linear layers take one product; return how many do."""
    layers = [module for module in model.modules() if type(module) is Linear and _plain(module)]
    for layer in layers:
        layer.__class__ = OneProduct
    return len(layers)


def changed(layer: Any) -> torch.Tensor:
    """Return the weight of a LoRA layer's base with the adapter's change in it, of the base's type; the same numbers each time."""
    return _sum(*_parts(layer))


def _parts(layer: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float, bool]:
    """Return the base's weight, A (r, k), B (n, r), the adapter's scale, and whether the weight is (k, n)."""
    base, (name,) = layer.get_base_layer(), layer.active_adapters
    return (
        base.weight,
        layer.lora_A[name].weight,
        layer.lora_B[name].weight,
        layer.scaling[name],
        isinstance(base, Conv1D),
    )


def _plain(layer: Any) -> bool:
    dropped = any(not isinstance(each, torch.nn.Identity) for each in layer.lora_dropout.values())
    return isinstance(layer.get_base_layer(), torch.nn.Linear | Conv1D) and not dropped and not layer.lora_variant


def _sum(weight: torch.Tensor, down: torch.Tensor, up: torch.Tensor, scale: float, transposed: bool) -> torch.Tensor:
    left, right = (down.t(), up.t()) if transposed else (up, down)
    return torch.addmm(weight.to(down.dtype), left, right, alpha=scale).to(weight.dtype)


class _Changed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        bias: torch.Tensor | None,
        weight: torch.Tensor,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
        transposed: bool,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight, down, up)
        ctx.scale, ctx.transposed = scale, transposed
        whole = _sum(weight, down, up, scale, transposed)
        return _product(x, whole.t() if transposed else whole, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, down, up = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        to_x = None
        if ctx.needs_input_grad[0]:
            whole = _sum(weight, down, up, ctx.scale, ctx.transposed)
            to_x = _product(gradient, whole if ctx.transposed else whole.t())  # (N, k)
        below = _product(gradient, up.to(x.dtype).t())  # (N, r)
        above = _product(x, down.to(x.dtype))  # (N, r)
        to_down = _product(below.t(), x.t()).to(down.dtype) * ctx.scale  # (r, k)
        to_up = _product(gradient.t(), above.t()).to(up.dtype) * ctx.scale  # (n, r)
        return to_x, None, None, to_down, to_up, None, None


def _product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return x W^T + b by this machine's fastest product."""
    if products.available() and products.applies(x, weight):
        return products.product(x, weight, bias)
    return torch.nn.functional.linear(x, weight, bias)
