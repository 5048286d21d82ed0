"""A forward over many sequences at once with no padding: the tokens of all of them in one row, attention for each over what is its own.

It is an attention function in transformers' AttentionInterface, so the model's own code runs unchanged; a model that does not hand its
attention over is found out by `serves`, and generates through `plain`. Rows that read a prompt attend one after the other; rows that
decode attend together, a shared prefix as one product for all that share it, and the pieces are joined by their log-sum-exp (the online
softmax of arXiv 2205.14135, section 3.1). Shapes: N tokens in the step, A decoding rows, H heads, KH key heads, G = H / KH, D head width,
T own tokens so far.
"""

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AttentionInterface

from chains.errors import ModelError
from chains.models import adapters, linear
from chains.models.kv import Part, Path, Place, Segment, Slot, Slots

NAME = "chaintune_packed"
_locks: "weakref.WeakKeyDictionary[Any, threading.RLock]" = weakref.WeakKeyDictionary()
MOST_SCORES = 2**24
"""Attention scores held at once while a prompt is read; more are computed a block of queries at a time."""


@dataclass
class Reading:
    """A piece of one sequence's prompt: tokens `start` to `end` of the step, written to `place` from its token `at` on."""

    start: int
    end: int
    place: Place
    at: int
    path: Path


@dataclass
class Decoding:
    """The rows of one capacity that decode: tokens `start` to `end` of the step, one a row, in the order of their slots."""

    start: int
    end: int
    slots: Slots
    first: int
    """The first of the rows' slots."""
    lengths: torch.Tensor
    """(A,): own tokens before this one."""
    before: torch.Tensor
    """(A,): the tokens of each row's path."""
    groups: list[tuple[torch.Tensor | None, Part, int]]
    """The pieces of the rows' paths: which rows (None: all), the piece, and the position of its first token."""

    def hide(self) -> None:
        """Say once a step which keys no layer sees: those that are not there yet."""
        others = torch.arange(self.slots.capacity, device=self.lengths.device)
        self.hidden = others > self.lengths[:, None, None, None]  # (A, 1, 1, T)


@dataclass
class Step:
    """One forward: what is read, what decodes, and at which tokens logits are wanted."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    decodings: list[Decoding] = field(default_factory=list)


def forward(model: Any, step: Step, adapter: str | None = None) -> torch.Tensor:
    """Return the logits (len(step.wanted), V); keys and values are written to the step's places."""
    device = model.device
    for decoding in step.decodings:
        decoding.hide()
    with _attending(model), adapters.active(model, adapter), linear.serving():
        out = model(
            input_ids=torch.tensor([step.ids], device=device),
            position_ids=torch.tensor([step.positions], device=device),
            use_cache=False,
            logits_to_keep=torch.tensor(step.wanted, dtype=torch.long, device=device),
            packed_step=step,
        )
    logits: torch.Tensor = out.logits[0]
    return logits


def serves(model: Any) -> str | None:
    """Return why a packed forward of this model cannot be trusted, or None where its logits are those of the model's own forward."""
    ids = [token % model.config.get_text_config().vocab_size for token in (11, 7, 5, 13, 3, 2)]
    first, slots = Segment(3), Slots()
    slots.ensure(2, 8)
    path = (Part(first, 3),)
    with torch.inference_mode():
        try:
            with alone(model), adapters.active(model, None):
                expected = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0]
            forward(model, Step(ids[:3], [0, 1, 2], [], [Reading(0, 3, first, 0, ())]))
            two = [Reading(0, 2, Slot(slots, 0), 0, path), Reading(2, 4, Slot(slots, 1), 0, ())]
            read = forward(model, Step(ids[3:5] + ids[:2], [3, 4, 0, 1], [1, 3], two))
            lengths, before = torch.tensor([2, 2], device=model.device), torch.tensor([3, 0], device=model.device)
            group = (torch.tensor([0], device=model.device), path[0], 0)
            both = Decoding(0, 2, slots, 0, lengths, before, [group])
            said = forward(model, Step([ids[5], ids[2]], [5, 2], [0, 1], [], [both]))
        except Exception as error:  # code of any model: whatever it raises, it is run another way
            return f"a packed forward fails: {type(error).__name__}: {error}"
    found, wanted = torch.cat([read, said]).float(), expected[[4, 1, 5, 2]].float()
    tolerance = 1e-3 if expected.dtype == torch.float32 else 5e-2
    off = ((found - wanted).abs().max() / wanted.abs().max().clamp(min=1)).item()
    return None if off <= tolerance else f"a packed forward gives other logits, off by {off:.2g}"


@contextmanager
def alone(model: Any) -> Iterator[None]:
    """Have a model to oneself while the block runs, with dropout off: engines may share it."""
    with _locks.setdefault(model, threading.RLock()):
        training = model.training
        if training:
            model.eval()
        try:
            yield
        finally:
            if training:
                model.train()


@contextmanager
def _attending(model: Any) -> Iterator[None]:
    """Give the model this attention, and no dropout, while the block runs."""
    config = model.config.get_text_config()
    with alone(model):
        kept = config._attn_implementation
        config._attn_implementation = NAME
        try:
            yield
        finally:
            config._attn_implementation = kept


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    packed_step: Step | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention's output (1, N, H, Dv) for query (1, H, N, D), key (1, KH, N, D) and value (1, KH, N, Dv)."""
    if packed_step is None or s_aux is not None:
        raise ModelError(f"{type(module).__name__} needs more of its attention than a packed forward gives")
    how = _How(scaling or query.shape[-1] ** -0.5, sliding_window, softcap)
    out = query.new_empty(query.shape[2], query.shape[1], value.shape[3])  # (N, H, Dv)
    for reading in packed_step.readings:
        tokens = slice(reading.start, reading.end)
        out[tokens] = _read(module.layer_idx, query[0, :, tokens], key[0, :, tokens], value[0, :, tokens], reading, how)
    for decoding in packed_step.decodings:
        tokens = slice(decoding.start, decoding.end)
        out[tokens] = _decode(
            module.layer_idx, query[0, :, tokens], key[0, :, tokens], value[0, :, tokens], decoding, how
        )
    return out[None], None


AttentionInterface.register(NAME, _attention)


@dataclass(frozen=True)
class _How:
    """What a layer does with its scores."""

    scaling: float
    window: int | None
    softcap: float | None

    def scores(self, query: torch.Tensor, key: torch.Tensor, hidden: torch.Tensor | None) -> torch.Tensor:
        """Return float32 scores (..., M, T) of query (..., M, D) and key (..., T, D); `hidden` is True where a key is not seen."""
        query = query * self.scaling
        if query.shape[-2] < 4 and query.dtype != torch.float32:  # a thin product is faster with the keys on the left
            scores = torch.matmul(key, query.mT).mT
        else:
            scores = torch.matmul(query, key.mT)
        scores = scores.float()
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        return scores if hidden is None else scores.masked_fill_(hidden, -torch.inf)

    def hidden(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor | None:
        """Return True where the token at position `queries` (..., M, 1) may not see the one at `keys` (..., 1, T); None: sees all."""
        if self.window is None:
            return None
        return keys <= queries - self.window


@dataclass
class _Piece:
    """What one piece of the context contributes: the values (..., M, Dv) weighted by exp(score - peak), and these weights' sum (..., M)."""

    out: torch.Tensor
    total: torch.Tensor
    peak: torch.Tensor


def _attend(scores: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return torch.matmul(torch.softmax(scores, dim=-1).to(value.dtype), value)


def _piece(scores: torch.Tensor, value: torch.Tensor) -> _Piece:
    peak = scores.amax(dim=-1, keepdim=True).clamp(min=-1e30)  # a window may hide a whole piece
    weights = scores.sub_(peak).exp_()
    return _Piece(torch.matmul(weights.to(value.dtype), value), weights.sum(dim=-1), peak[..., 0])


def _join(pieces: Sequence[_Piece]) -> torch.Tensor:
    """Return the attention over all pieces together: each by its share of the sum of exponentials."""
    peak = pieces[0].peak
    for piece in pieces[1:]:
        peak = torch.maximum(peak, piece.peak)
    scales = [(piece.peak - peak).exp_() for piece in pieces]
    total = sum(piece.total * scale for piece, scale in zip(pieces, scales, strict=True))
    shares = [scale / total for scale in scales]
    out = pieces[0].out * shares[0][..., None]
    for piece, share in zip(pieces[1:], shares[1:], strict=True):
        out += piece.out * share[..., None]
    return out


def _read(
    layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, reading: Reading, how: _How
) -> torch.Tensor:
    """Return (n, H, Dv) for a prompt's n tokens: they see the path, what the place holds, and each other up to themselves."""
    heads, n, width = query.shape
    kv_heads = key.shape[0]
    keys, values = reading.place.put(layer, reading.at, key, value)  # (KH, T, D)
    before = sum(part.length for part in reading.path)
    grouped = query.reshape(kv_heads, heads // kv_heads, n, width)
    block = max(1, MOST_SCORES // (heads * (before + keys.shape[1])))
    blocks = [
        _read_block(layer, grouped[:, :, first : first + block], keys, values, reading, before, first, how)
        for first in range(0, n, block)
    ]
    return torch.cat(blocks, dim=2).reshape(heads, n, value.shape[2]).transpose(0, 1)


def _read_block(
    layer: int,
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    reading: Reading,
    before: int,
    first: int,
    how: _How,
) -> torch.Tensor:
    kv_heads, groups, n, width = query.shape
    rows = query.reshape(kv_heads, groups * n, width)
    seen = reading.at + first + n
    keys, values = keys[:, :seen], values[:, :seen]
    own = torch.arange(seen - n, seen, device=query.device)[:, None]  # (n, 1)
    others = torch.arange(seen, device=query.device)[None]  # (1, T)
    hidden = others > own
    if (outside := how.hidden(own, others)) is not None:
        hidden = hidden | outside
    scores = how.scores(rows, keys, hidden.repeat(groups, 1))
    if not reading.path:
        return _attend(scores, values).view(kv_heads, groups, n, -1)
    pieces = [_piece(scores, values)]
    start = 0
    for part in reading.path:
        part_keys, part_values = part.layer(layer)
        positions = torch.arange(start, start + part.length, device=query.device)[None]
        far = how.hidden(own + before, positions)
        scores = how.scores(rows, part_keys, None if far is None else far.repeat(groups, 1))
        pieces.append(_piece(scores, part_values))
        start += part.length
    return _join(pieces).view(kv_heads, groups, n, -1)


def _decode(
    layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, decoding: Decoding, how: _How
) -> torch.Tensor:
    """Return (A, H, Dv) for one token of each row: it sees its path, its own tokens and itself."""
    heads, count, width = query.shape
    kv_heads = key.shape[0]
    keys, values = decoding.slots.layer(layer, key, value)  # (S, KH, C, D)
    rows = torch.arange(decoding.first, decoding.first + count, device=query.device)
    keys[rows, :, decoding.lengths] = key.transpose(0, 1)
    values[rows, :, decoding.lengths] = value.transpose(0, 1)
    grouped = query.transpose(0, 1).reshape(count, kv_heads, heads // kv_heads, width)  # (A, KH, G, D)
    mine = slice(decoding.first, decoding.first + count)
    keys, values = keys[mine], values[mine]
    hidden = decoding.hidden
    if how.window is not None:
        others = torch.arange(keys.shape[2], device=query.device)
        hidden = hidden | (others <= decoding.lengths[:, None, None, None] - how.window)
    scores = how.scores(grouped, keys, hidden)
    if not decoding.groups:
        return _attend(scores, values).reshape(count, heads, -1)
    pieces = [_piece(scores, values)]
    pieces += [_shared(layer, grouped, decoding, group, how) for group in decoding.groups]
    return _join(pieces).reshape(count, heads, -1)


def _shared(
    layer: int, query: torch.Tensor, decoding: Decoding, group: tuple[torch.Tensor | None, Part, int], how: _How
) -> _Piece:
    """Return what a shared piece contributes to every row (A, KH, G, ...): nothing to those that do not share it."""
    places, part, start = group
    keys, values = part.layer(layer)  # (KH, n, D)
    asking = query if places is None else query[places]
    count, kv_heads, groups, width = asking.shape
    rows = asking.transpose(0, 1).reshape(kv_heads, count * groups, width)
    far = None
    if how.window is not None:
        position = decoding.lengths + decoding.before
        position = (position if places is None else position[places]).repeat_interleave(groups)[:, None]
        far = how.hidden(position, torch.arange(start, start + part.length, device=query.device)[None])
    piece = _piece(how.scores(rows, keys, far), values)
    out, total, peak = (
        part.view(kv_heads, count, groups, *part.shape[2:]).transpose(0, 1)
        for part in (piece.out, piece.total, piece.peak)
    )
    if places is None:
        return _Piece(out, total, peak)
    whole = _Piece(
        out.new_zeros(*query.shape[:-1], out.shape[-1]),
        total.new_zeros(query.shape[:-1]),
        peak.new_full(query.shape[:-1], -1e30),
    )
    whole.out[places], whole.total[places], whole.peak[places] = out, total, peak
    return whole
