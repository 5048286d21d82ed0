"""The compiled loops of attention on a CPU, and the numbers and threads that they share; decode.py and weigh.py call them.

numba compiles a loop when it first runs, and keeps the result beside this file or in its own cache, for as long as this one file does not
change: so all that it compiles stands here.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

WORTH_A_THREAD = 2**20
"""Products of this many numbers are worth another thread's waking."""
MATHS = {"reassoc", "contract", "arcp", "nsz"}
"""What the compiler may take liberties with; a NaN stays a NaN."""
F = np.float32


def fits(*tensors: torch.Tensor) -> bool:
    """Whether the loops take these: on a CPU, in float32 or bfloat16."""
    return all(t.device.type == "cpu" and t.dtype in (torch.float32, torch.bfloat16) for t in tensors)


def numbers(tensor: torch.Tensor) -> Any:
    """Return a tensor's memory: bfloat16 as the upper halves of float32."""
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def share(run: Callable[[int, int], None], rows: int, work: int) -> None:
    """Run `run(begin, end)` over rows that come to so much work, on as many of torch's threads as it is worth."""
    count = max(1, min(torch.get_num_threads(), rows, work // WORTH_A_THREAD))
    if count == 1:
        return run(0, rows)
    parts = pairwise(rows * number // count for number in range(count + 1))
    for _ in _threads(count).map(lambda part: run(*part), parts):
        pass


@lru_cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="chaintune-compiled")


def _wide_code(context: Any, number: Any) -> Any:
    """A number as float32: a bfloat16 comes as the 16 bits of its upper half."""

    def bits(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _widened(builder, arguments[0], ir.FloatType())

    return types.float32(number), bits


def _as_float_code(context: Any, number: Any) -> Any:
    """The float32 of these 32 bits."""
    return types.float32(types.int32), lambda target, builder, signature, arguments: builder.bitcast(
        arguments[0], ir.FloatType()
    )


def _larger_code(context: Any, first: Any, second: Any) -> Any:
    """The larger of two float32, as one instruction that knows of no NaN: where one is NaN it may be either."""

    def bits(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        flags = ("nnan", "nsz")
        return builder.select(builder.fcmp_ordered(">", *arguments, flags=flags), *arguments, flags=flags)

    return types.float32(types.float32, types.float32), bits


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


def _columns(lanes: int, parts: int) -> Any:
    """Return what adds weighted rows (n, m) to out (m,), for its first lanes x parts columns: `parts` sums stay in registers over all rows.

    The compiler alone would read and write out for each row, at three times the time.
    """
    kind = ir.VectorType(ir.FloatType(), lanes) if lanes > 1 else ir.FloatType()

    def add(context: Any, out: Any, weights: Any, rows: Any) -> Any:
        def code(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            sums, by, of = (
                target.make_array(array)(target, builder, value)
                for array, value in zip(signature.args, arguments, strict=True)
            )
            number = ir.FloatType() if rows.dtype == types.float32 else ir.IntType(16)
            load = lambda place, of_type, part: _load(builder, place, of_type, lanes, part)  # noqa: E731
            held = [cgutils.alloca_once_value(builder, load(sums.data, ir.FloatType(), n)) for n in range(parts)]
            step, count = builder.extract_value(of.strides, 0), builder.extract_value(of.shape, 0)
            with cgutils.for_range(builder, count) as loop:
                weight = builder.load(builder.gep(by.data, [loop.index]))
                weight = _spread(builder, weight, kind)
                row = cgutils.pointer_add(builder, of.data, builder.mul(loop.index, step))
                for n, sum_ in enumerate(held):
                    product = builder.fmul(_widened(builder, load(row, number, n), kind), weight, flags=["contract"])
                    builder.store(builder.fadd(builder.load(sum_), product, flags=["contract"]), sum_)
            for n, sum_ in enumerate(held):
                place = builder.bitcast(sums.data, kind.as_pointer())
                builder.store(builder.load(sum_), builder.gep(place, [ir.Constant(count.type, n)]), align=4)
            return target.get_dummy_value()

        return types.void(out, weights, rows), code

    return intrinsic(add)


def _load(builder: Any, place: Any, number: Any, lanes: int, part: int) -> Any:
    kind = ir.VectorType(number, lanes) if lanes > 1 else number
    at = builder.gep(builder.bitcast(place, kind.as_pointer()), [ir.Constant(ir.IntType(64), part)])
    return builder.load(at, align=number.width // 8 if isinstance(number, ir.IntType) else 4)


def _spread(builder: Any, number: Any, kind: Any) -> Any:
    """Return a number in every lane."""
    if not isinstance(kind, ir.VectorType):
        return number
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count))


def _widened(builder: Any, number: Any, kind: Any) -> Any:
    """Return float32 of the same, or of the upper halves that bfloat16 are."""
    if number.type == kind:
        return number
    word = ir.VectorType(ir.IntType(32), kind.count) if isinstance(kind, ir.VectorType) else ir.IntType(32)
    bits = ir.Constant(word, [16] * kind.count if isinstance(kind, ir.VectorType) else 16)
    return builder.bitcast(builder.shl(builder.zext(number, word), bits), kind)


wide: Any = intrinsic(_wide_code)
larger: Any = intrinsic(_larger_code)
narrow: Any = intrinsic(_narrow_code)
_as_float: Any = intrinsic(_as_float_code)
_add_64, _add_32, _add_16, _add_1 = (_columns(*shape) for shape in ((16, 4), (16, 2), (16, 1), (1, 1)))


@njit(fastmath=MATHS, inline="always")
def exp(x):  # type: ignore[no-untyped-def]
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
def add_rows(out, weights, rows):  # type: ignore[no-untyped-def]
    """Add the weighted rows (n, m), float32 or bfloat16, to out (m,); the columns of a row lie side by side."""
    column, width = 0, len(out)
    while column + 64 <= width:
        _add_64(out[column:], weights, rows[:, column:])
        column += 64
    if column + 32 <= width:
        _add_32(out[column:], weights, rows[:, column:])
        column += 32
    if column + 16 <= width:
        _add_16(out[column:], weights, rows[:, column:])
        column += 16
    while column < width:
        _add_1(out[column:], weights, rows[:, column:])
        column += 1


@njit(fastmath=MATHS, nogil=True, cache=True)
def decode_rows(  # type: ignore[no-untyped-def]
    query, key, value, keys, values, pages, tokens, at, begin, end, sums, totals, peaks, scaling, window, softcap, out
):
    """The rows from begin to end: `sums` (R, H, Dv), `totals` and `peaks` (R, H) hold what came before, and are used up."""
    heads, each, grain = query.shape[1], query.shape[1] // keys.shape[1], keys.shape[3]
    room, asked = np.empty(pages.shape[1] * grain, np.float32), np.empty(query.shape[2], np.float32)
    for r in range(begin, end):
        token, n = tokens[r], at[r] + 1
        first = max(0, n - window)
        start, last = first // grain, (n - 1) // grain
        for h in range(heads):
            own, sum_ = h // each, sums[r, h]
            if h % each == 0:  # the first of the heads that share them
                page, place = pages[r, last], (n - 1) % grain
                keys[page, own, :, place] = key[token, own]
                values[page, own, place] = value[token, own]
            for d in range(len(asked)):
                asked[d] = wide(query[token, h, d]) * scaling
            room[start * grain : (last + 1) * grain] = 0
            for p in range(start, last + 1):
                add_rows(room[p * grain : (p + 1) * grain], asked, keys[pages[r, p], own])
            scores, peak = room[first:n], peaks[r, h]
            if softcap > 0:
                for t in range(len(scores)):
                    scores[t] = F(math.tanh(scores[t] / softcap)) * softcap
            for t in range(len(scores)):
                peak = larger(peak, scores[t])
            scale, total = exp(peaks[r, h] - peak), F(0)
            for d in range(len(sum_)):
                sum_[d] *= scale
            for t in range(len(scores)):
                scores[t] = exp(scores[t] - peak)
                total += scores[t]
            total += totals[r, h] * scale
            for p in range(start, last + 1):
                low, high = max(first, p * grain), min(n, (p + 1) * grain)
                add_rows(sum_, room[low:high], values[pages[r, p], own, low - p * grain : high - p * grain])
            for d in range(len(sum_)):
                out[token, h, d] = narrow(sum_[d] / total, out[token, h, d])


@njit(fastmath=MATHS, nogil=True, cache=True)
def weigh_rows(scores, low, high, begin, end, scaling, softcap, totals, peaks):  # type: ignore[no-untyped-def]
    """The rows from begin to end of scores (M, T): see weigh.py."""
    spare = np.empty(scores.shape[1], np.float32)
    for m in range(begin, end):
        last = min(high[m], scores.shape[1])
        first = min(low[m], last)
        scores[m, :first] = scores[m, last:] = 0
        row, made, peak, total = scores[m, first:last], spare[: last - first], F(-1e30), F(0)
        for t in range(len(row)):
            made[t] = wide(row[t]) * scaling
        if softcap > 0:
            for t in range(len(row)):
                made[t] = F(math.tanh(made[t] / softcap)) * softcap
        for t in range(len(row)):
            peak = larger(peak, made[t])
        for t in range(len(row)):
            made[t] = exp(made[t] - peak)
            total += made[t]
        for t in range(len(row)):
            row[t] = narrow(made[t], row[t])
        totals[m], peaks[m] = total, peak
