"""An embedding model's forward made fast on a CPU: packed products (linear.py), an attention of its own in bfloat16, batches without much padding.

The model's own code runs unchanged, so its vectors are its own. Attention is the part that torch's bfloat16 kernel is slow in where heads
are narrow (MiniLM's have 32 numbers): as two products with exp2 between them it takes half of the time, and, the softmax's sum being one
more column of the second product, its scores are passed over once. Shapes: B texts, H heads, T tokens, D head width, C texts at a time.

    with fast(encoder): model.encode(texts)
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from chains.models import linear
from chains.models.attending import attending

NAME = "chaintune_encoder"
BATCH = 2048
"""Tokens of a batch, its longest text's for each, whose numbers stay in a CPU's cache."""
_TOGETHER = 1024
"""Tokens whose scores are computed at a time, for the same reason."""
_PLAIN = frozenset({"dropout", "is_causal", "position_ids", "use_cache"})
"""What a model may say of its attention without asking for another one."""


def hastened(model: Any) -> Any | None:
    """Return the transformers model inside a sentence-transformers one, whose products are packed from now on; None where that is not faster here."""
    encoder = getattr(model[0], "auto_model", None)
    if not isinstance(encoder, PreTrainedModel) or linear.accelerate(encoder) == 0:
        return None
    return encoder


@contextmanager
def fast(encoder: Any) -> Iterator[None]:
    """Let this thread's forwards of a model that was hastened be fast while the block runs."""
    with linear.serving():
        if encoder.config._attn_implementation == "sdpa" and encoder.dtype == torch.bfloat16:
            with attending(encoder, NAME):
                yield
        else:
            yield


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the places of texts of like length in tokens, the longest first, as many as make one batch."""
    waiting = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    while waiting:
        count = max(1, BATCH // max(1, lengths[waiting[0]]))
        yield waiting[:count]
        waiting = waiting[count:]


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention's output (B, T, H, D) for query, key and value (B, H, T, D); what it is not made for goes torch's way."""
    if not _is_plain(module, query, key, value, attention_mask, rest):
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **rest)
    batch, heads, length, width = query.shape
    out = query.new_empty(batch, length, heads, width)
    hidden = None if attention_mask is None else torch.where(attention_mask[:, :, :1], 0.0, -torch.inf).to(query.dtype)
    count = max(1, _TOGETHER // length)
    for at in range(0, batch, count):
        few = slice(at, at + count)
        q, k, v = (part[few].flatten(0, 1) for part in (query, key, value))  # (C H, T, D)
        bias = query.new_zeros(()) if hidden is None else hidden[few].expand(-1, heads, -1, -1).flatten(0, 1)
        found = _attend(q, k, v, bias, scaling or width**-0.5)
        out[few] = found.unflatten(0, (-1, heads)).transpose(1, 2)
    return out, None


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor, scaling: float
) -> torch.Tensor:
    """Return softmax(scaling q k^T + bias) v.

    No maximum is taken off the scores: bfloat16 has float32's exponents, so that exp keeps its precision for scores of -87 to 88. The keys'
    mean is, which changes a query's scores all alike and has them lie around 0; where one is still too high, torch's attention computes.
    """
    near = key - key.mean(dim=-2, keepdim=True)
    scores = torch.baddbmm(bias, query, near.mT, alpha=scaling * math.log2(math.e))  # (C H, T, T)
    ones = value.new_ones(*value.shape[:-1], 1)
    found = torch.bmm(scores.exp2_(), torch.cat([value, ones], dim=-1))  # (C H, T, D + 1)
    total = found[..., -1:]
    if not 1e-36 < total.min() <= total.max() < 1e36:
        mask = None if bias.ndim == 0 else bias
        return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    return found[..., :-1] / total


def _is_plain(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    rest: dict[str, Any],
) -> bool:
    """Return whether every token sees the same ones: no causal order, no bias by position, as many heads of keys as of queries."""
    if not query.shape == key.shape == value.shape or torch.is_grad_enabled():
        return False
    if any(asked is not None and name not in _PLAIN for name, asked in rest.items()) or rest.get("dropout"):
        return False
    if rest.get("is_causal") or getattr(module, "is_causal", True):
        return False
    return mask is None or (mask.dtype == torch.bool and mask.ndim == 4 and bool((mask == mask[:, :, :1]).all()))


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
