"""Attention for rows that decode one token each, on a CPU: one compiled loop over what each row itself has kept.

torch computes this as thin batched products over rows padded to the longest one, and on the CPUs where it was measured (one AMD Zen 5 core,
bfloat16, 32 rows, 64 to 320 tokens) that takes 3 to 5 times as long: a row's keys are read once, from its pages, in its own length, and all
sums are float32. A row's numbers do not depend on the other rows, so a batch decodes bit for bit as its rows alone would.
numba compiles it when the first row decodes, and keeps the result beside this file or in its own cache.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

WORTH_A_THREAD = 2**20
"""Products of this many numbers are worth another thread's waking."""
MATHS = {"reassoc", "contract", "arcp", "nsz"}
"""What the compiler may take liberties with; a NaN stays a NaN."""
F = np.float32


def fits(*tensors: torch.Tensor) -> bool:
    """Whether `attend` takes these: on a CPU, in float32 or bfloat16."""
    return all(t.device.type == "cpu" and t.dtype in (torch.float32, torch.bfloat16) for t in tensors)


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
    before: what came before a row's own tokens: values weighted by exp(score - peak) (R, KH, G, Dv), the weights' sums and the peaks
    (R, KH, G), in float32. how: the scaling of scores, the window in tokens, and the softcap.
    """
    query, key, value = (_numbers(part.transpose(0, 1).contiguous()) for part in fresh)
    pages, tokens, at = (part.numpy() for part in places)
    heads, width = query.shape[1], value.shape[2]
    state = _nothing(len(tokens), heads, width) if before is None else _flat(before, heads)
    scaling, window, softcap = how
    rest = (
        *state,
        F(scaling),
        int(at.max()) + 1 if window is None else window,
        F(softcap or 0),
        _numbers(out),
    )
    parts = _shares(int(at.sum()) * heads * width, len(tokens))
    run = lambda part: _rows(query, key, value, _numbers(kept[0]), _numbers(kept[1]), pages, tokens, at, *part, *rest)  # noqa: E731
    for _ in _threads(len(parts)).map(run, parts) if len(parts) > 1 else map(run, parts):
        pass


def _numbers(tensor: torch.Tensor) -> Any:
    """Return a tensor's memory: bfloat16 as the upper halves of float32."""
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _nothing(rows: int, heads: int, width: int) -> tuple[Any, Any, Any]:
    return np.zeros((rows, heads, width), F), np.zeros((rows, heads), F), np.full((rows, heads), -1e30, F)


def _flat(before: Sequence[torch.Tensor], heads: int) -> tuple[Any, ...]:
    return tuple(part.float().reshape(len(part), heads, *part.shape[3:]).contiguous().numpy() for part in before)


def _shares(work: int, rows: int) -> list[tuple[int, int]]:
    """Return the first and last row of each thread's share."""
    count = max(1, min(torch.get_num_threads(), rows, work // WORTH_A_THREAD))
    ends = [rows * number // count for number in range(count + 1)]
    return list(pairwise(ends))


@lru_cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="chaintune-decode")


def _wide_code(context: Any, number: Any) -> Any:
    """A number as float32: a bfloat16 comes as the 16 bits of its upper half."""

    def bits(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if signature.args[0] == types.float32:
            return arguments[0]
        whole = builder.shl(builder.zext(arguments[0], ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
        return builder.bitcast(whole, ir.FloatType())

    return types.float32(number), bits


def _as_float_code(context: Any, number: Any) -> Any:
    """The float32 of these 32 bits."""
    return types.float32(types.int32), lambda target, builder, signature, arguments: builder.bitcast(
        arguments[0], ir.FloatType()
    )


def _narrow_code(context: Any, number: Any, like: Any) -> Any:
    """A float32 as what `like` is: itself, or bfloat16's 16 bits, rounded to nearest, ties to even."""

    def bits(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if signature.return_type == types.float32:
            return arguments[0]
        word = ir.IntType(32)
        whole = builder.bitcast(arguments[0], word)
        even = builder.and_(builder.lshr(whole, ir.Constant(word, 16)), ir.Constant(word, 1))
        rounded = builder.add(builder.add(whole, even), ir.Constant(word, 0x7FFF))
        rounded = builder.select(
            builder.fcmp_unordered("uno", arguments[0], arguments[0]), ir.Constant(word, 0x7FC00000), rounded
        )
        return builder.trunc(builder.lshr(rounded, ir.Constant(word, 16)), ir.IntType(16))

    return like(types.float32, like), bits


_wide: Any = intrinsic(_wide_code)
_as_float: Any = intrinsic(_as_float_code)
_narrow: Any = intrinsic(_narrow_code)


@njit(fastmath=MATHS, inline="always")
def _exp(x):  # type: ignore[no-untyped-def]
    """Return e to the x for x at most 0, off by at most 2e-7 of it: 2^n times the Taylor polynomial of degree 7 in the rest."""
    x = x if x > F(-87) or x != x else F(-87)
    n = np.floor(x * F(1.4426950408889634) + F(0.5))
    rest = (x - n * F(0.693359375)) + n * F(
        2.12194440e-4
    )  # ln 2 in two parts: the first has few bits, so n times it is exact
    sum_ = F(1 / 5040)
    sum_ = sum_ * rest + F(1 / 720)
    sum_ = sum_ * rest + F(1 / 120)
    sum_ = sum_ * rest + F(1 / 24)
    sum_ = sum_ * rest + F(1 / 6)
    sum_ = sum_ * rest + F(0.5)
    sum_ = sum_ * rest + F(1)
    sum_ = sum_ * rest + F(1)
    return sum_ * _as_float((np.int32(n) + np.int32(127)) << np.int32(23))


@njit(fastmath=MATHS, inline="always")
def _add_values(out, weights, values, first, last):  # type: ignore[no-untyped-def]
    """Add a page's values (g, Dv) from first to last, weighted, to out (Dv): four tokens at a time, so that out is read less often."""
    t = first
    while t + 4 <= last:
        for d in range(out.shape[0]):
            out[d] += (
                weights[t] * _wide(values[t, d])
                + weights[t + 1] * _wide(values[t + 1, d])
                + weights[t + 2] * _wide(values[t + 2, d])
                + weights[t + 3] * _wide(values[t + 3, d])
            )
        t += 4
    while t < last:
        for d in range(out.shape[0]):
            out[d] += weights[t] * _wide(values[t, d])
        t += 1


@njit(fastmath=MATHS, nogil=True, cache=True)
def _rows(  # type: ignore[no-untyped-def]
    query, key, value, keys, values, pages, tokens, at, begin, end, sums, totals, peaks, scaling, window, softcap, out
):
    """The rows from begin to end: `sums` (R, H, Dv), `totals` and `peaks` (R, H) hold what came before, and are used up."""
    heads, each, grain = query.shape[1], query.shape[1] // keys.shape[1], keys.shape[2]
    scores, asked = np.empty(pages.shape[1] * grain, np.float32), np.empty(query.shape[2], np.float32)
    for r in range(begin, end):
        token, n = tokens[r], at[r] + 1
        first = max(0, n - window)
        for h in range(heads):
            own, sum_ = h // each, sums[r, h]
            if h % each == 0:  # the first of the heads that share them
                page, place = pages[r, (n - 1) // grain], (n - 1) % grain
                for d in range(key.shape[2]):
                    keys[page, own, place, d] = key[token, own, d]
                for d in range(value.shape[2]):
                    values[page, own, place, d] = value[token, own, d]
            for d in range(asked.shape[0]):
                asked[d] = _wide(query[token, h, d]) * scaling
            peak = peaks[r, h]
            for p in range(first // grain, (n - 1) // grain + 1):
                of_page, start = keys[pages[r, p], own], p * grain
                for t in range(max(first, start), min(n, start + grain)):
                    score = F(0)
                    for d in range(asked.shape[0]):
                        score += _wide(of_page[t - start, d]) * asked[d]
                    if softcap > 0:
                        score = F(math.tanh(score / softcap)) * softcap
                    scores[t] = score
                    peak = max(peak, score)
            scale = _exp(peaks[r, h] - peak)
            total = totals[r, h] * scale
            for d in range(sum_.shape[0]):
                sum_[d] *= scale
            for t in range(first, n):
                scores[t] = _exp(scores[t] - peak)
                total += scores[t]
            for p in range(first // grain, (n - 1) // grain + 1):
                start = p * grain
                last = min(n - start, grain)
                _add_values(sum_, scores[start : start + grain], values[pages[r, p], own], max(first - start, 0), last)
            for d in range(sum_.shape[0]):
                out[token, h, d] = _narrow(sum_[d] / total, out[token, h, d])
