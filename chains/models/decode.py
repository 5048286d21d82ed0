"""Attention for rows that decode one token each, on a CPU: one compiled loop over what each row itself has kept.

torch computes this as thin batched products over rows padded to the longest one, and on the CPUs where it was measured (one AMD Zen 5 core,
bfloat16, 32 rows, 64 to 320 tokens) that takes 6 to 10 times as long: a row's keys are read once, from its pages, in its own length, and all
sums are float32. A row's numbers do not depend on the other rows, so a batch decodes bit for bit as its rows alone would.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from chains.models import compiled
from chains.models.compiled import F


def attend(
    fresh: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    kept: tuple[torch.Tensor, torch.Tensor],
    places: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    before: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None,
    how: tuple[float, int | None, float | None],
    out: torch.Tensor,
) -> None:
    """Write R rows' new keys and values to their pages, and their attention's output to `out` (N, H, Dv).

    fresh: the step's query (H, N, D), key (KH, N, D) and value (KH, N, Dv). kept: a layer's pages of keys (P, KH, g, D) and values (P, KH, g, Dv).
    places: each row's pages (R, p), its token of the step (R,), and where among its own that goes (R,).
    A page's keys lie with a token's numbers apart and the tokens side by side, as kv.py makes them.
    before: what came before a row's own tokens: values weighted by exp(score - peak) (R, KH, G, Dv), the weights' sums and the peaks
    (R, KH, G), in float32. how: the scaling of scores, the window in tokens, and the softcap.
    """
    query, key, value = (compiled.numbers(part.transpose(0, 1).contiguous()) for part in fresh)
    pages, tokens, at = (part.numpy() for part in places)
    heads, width = query.shape[1], value.shape[2]
    state = _nothing(len(tokens), heads, width) if before is None else _flat(before, heads)
    scaling, window, softcap = how
    read = (query, key, value, compiled.numbers(kept[0].mT), compiled.numbers(kept[1]), pages, tokens, at)
    rest: tuple[Any, ...] = (
        F(scaling),
        int(at.max()) + 1 if window is None else window,
        F(softcap or 0),
        compiled.numbers(out),
    )
    run = lambda begin, end: compiled.decode_rows(*read, begin, end, *state, *rest)  # noqa: E731
    compiled.share(run, len(tokens), int(at.sum()) * heads * width)


def _nothing(rows: int, heads: int, width: int) -> tuple[Any, Any, Any]:
    return np.zeros((rows, heads, width), F), np.zeros((rows, heads), F), np.full((rows, heads), -1e30, F)


def _flat(before: Sequence[torch.Tensor], heads: int) -> tuple[Any, ...]:
    return tuple(part.float().reshape(len(part), heads, *part.shape[3:]).contiguous().numpy() for part in before)
