"""A forward over many sequences at once with no padding: the tokens of all of them in one row, attention for each over what is its own.

It is an attention function in transformers' AttentionInterface, so the model's own code runs unchanged; a model that does not hand its
attention over is found out by `serves`, and generates through `plain_runner`. Rows that are about as long attend side by side, a shared
prefix as one product for all that share it, and the pieces are joined by their sums of exponentials (the online softmax of arXiv
2205.14135, section 3.1). Shapes: N tokens in the step, R rows of a block, n tokens of each, H heads, KH key heads, G = H / KH, D head
width, T tokens that a row has kept, g tokens of a page.
"""

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AttentionInterface

from chains.errors import ModelError
from chains.models import adapters, compiled, decode, linear
from chains.models.attending import attending
from chains.models.kv import Pages, Part, Segment
from chains.models.row import GivenUp
from chains.models.weigh import weigh

NAME = "chaintune_packed"
MULTIPLES = ((8, 1), (64, 4), (2**63, 32))
"""Up to so many tokens of a step become a multiple of so many: oneDNN plans a product for each number of rows that it meets, and keeps it."""
_locks: "weakref.WeakKeyDictionary[Any, threading.RLock]" = weakref.WeakKeyDictionary()


@dataclass
class Block:
    """Rows that take about as many tokens each, side by side: those that decode take one, those that read a piece.

    The same in every layer of a step; its rows' keys and values are written before they are read.
    """

    store: Pages
    pages: torch.Tensor
    """(R, p): where the store holds each row's own tokens."""
    tokens: torch.Tensor
    """(R, n): each row's tokens in the step; a row with fewer repeats its last."""
    at: torch.Tensor
    """(R, n): where among the row's own tokens each goes."""
    before: torch.Tensor
    """(R, 1): the tokens of each row's path."""
    groups: Sequence[tuple[torch.Tensor | None, Part, int]]
    """The pieces of the rows' paths: which rows (None: all), the piece, and the position of its first token."""
    seen: int
    """How many of its own tokens any row sees."""

    def write(self, whole: torch.Tensor, fresh: torch.Tensor) -> None:
        """Put the rows' new keys or values (KH, N, D) into a layer's pages (P, KH, g, D)."""
        page = self.pages.gather(1, self.at // self.store.grain)  # (R, n)
        whole[page, :, self.at % self.store.grain] = fresh[:, self.tokens].permute(1, 2, 0, 3)

    def mine(self, whole: torch.Tensor) -> torch.Tensor:
        """Return what the rows see of a layer's pages: (R, KH, T, D)."""
        seen = whole[self.pages[:, : -(-self.seen // self.store.grain)]]  # (R, p, KH, g, D)
        return seen.transpose(1, 2).flatten(2, 3)[:, :, : self.seen]


@dataclass
class Step:
    """One forward: what is read, what decodes, and at which tokens logits are wanted."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    unwanted: Callable[[], bool] = lambda: False
    """Whether all whom it is for have gone: asked at each layer, so that a long piece of a prompt does not stop who comes next."""


def forward(model: Any, step: Step, adapter: str | None = None) -> torch.Tensor:
    """Return the logits (len(step.wanted), V); keys and values are written to the step's places. Raises GivenUp where it is unwanted."""
    device, count = model.device, len(step.ids)
    spare = -count % next(multiple for most, multiple in MULTIPLES if count <= most)
    with alone(model), attending(model, NAME), adapters.active(model, adapter), linear.serving():
        out = model(
            input_ids=torch.tensor([step.ids + step.ids[-1:] * spare], device=device),
            position_ids=torch.tensor([step.positions + step.positions[-1:] * spare], device=device),
            use_cache=False,
            logits_to_keep=torch.tensor(step.wanted, dtype=torch.long, device=device),
            packed_step=step,
        )
    logits: torch.Tensor = out.logits[0]
    return logits


def serves(model: Any) -> str | None:
    """Return why a packed forward of this model cannot be trusted, or None where its logits are those of the model's own forward."""
    ids = [token % model.config.get_text_config().vocab_size for token in (11, 7, 5, 13, 3, 2)]
    first, store = Segment(3), Pages(2)
    path = Part(first, 3)
    store.take(4)

    def block(store: Pages, pages: list[list[int]], at: list[list[int]], before: list[int], shared: bool) -> Block:
        number = lambda values: torch.tensor(values, device=model.device)  # noqa: E731
        groups = [(number([0]), path, 0)] if shared else []
        places = number(at)
        tokens = torch.arange(places.numel(), device=model.device).view_as(places)
        seen = len(pages[0]) * store.grain
        return Block(store, number(pages), tokens, places, number(before)[:, None], groups, seen)

    with torch.inference_mode():
        try:
            with alone(model), adapters.active(model, None):
                expected = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0]
            forward(model, Step(ids[:3], [0, 1, 2], [], [block(first.pages, [[0]], [[0, 1, 2]], [0], False)]))
            two = block(store, [[3, 0], [1, 2]], [[0, 1], [0, 1]], [3, 0], True)
            read = forward(model, Step(ids[3:5] + ids[:2], [3, 4, 0, 1], [1, 3], [two]))
            both = block(store, [[3, 0], [1, 2]], [[2], [2]], [3, 0], True)
            said = forward(model, Step([ids[5], ids[2]], [5, 2], [0, 1], [both]))
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
    if packed_step.unwanted():
        raise GivenUp
    how = _How(scaling or query.shape[-1] ** -0.5, sliding_window, softcap)
    out = query.new_zeros(query.shape[2], query.shape[1], value.shape[3])  # (N, H, Dv)
    for block in packed_step.blocks:
        if block.tokens.shape[1] == 1 and compiled.fits(query, value):
            _decode_block(module.layer_idx, query[0], key[0], value[0], block, how, out)
        else:
            out[block.tokens] = _attend_block(module.layer_idx, query[0], key[0], value[0], block, how)
    return out[None], None


AttentionInterface.register(NAME, _attention)


@dataclass(frozen=True)
class _How:
    """What a layer does with its scores."""

    scaling: float
    window: int | None
    softcap: float | None

    def piece(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, last: torch.Tensor | None) -> "_Piece":
        """Return what the tokens of key (..., T, D) and value (..., T, Dv) contribute to query (..., M, D).

        last: the last of the T tokens that each query sees, broadcasting to (..., M); None: all, in the window or not. It may lie after them.
        """
        if compiled.fits(query, value):
            scores = _products(query, key)
            total, peak = weigh(scores, last, self.scaling, self.window, self.softcap)
            return _Piece(torch.matmul(scores, value), total, peak)
        scores = self._capped(_products(query * self.scaling, key).float())
        if last is not None:
            place = torch.arange(scores.shape[-1], device=scores.device)
            hidden = place > last[..., None]
            if self.window is not None:
                hidden = hidden | (place <= last[..., None] - self.window)
            scores = scores.masked_fill_(hidden, -torch.inf)
        peak = scores.amax(dim=-1, keepdim=True).clamp(min=-1e30)  # a window may hide a whole piece
        weights = scores.sub_(peak).exp_()
        return _Piece(torch.matmul(weights.to(value.dtype), value), weights.sum(dim=-1), peak[..., 0])

    def _capped(self, scores: torch.Tensor) -> torch.Tensor:
        return scores if self.softcap is None else torch.tanh(scores / self.softcap) * self.softcap


def _products(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Return the products (..., M, T) of query (..., M, D) and key (..., T, D)."""
    if query.shape[-2] < 4 and query.dtype != torch.float32:  # a thin product is faster with the keys on the left
        return torch.matmul(key, query.mT).mT.contiguous()
    return torch.matmul(query, key.mT)


@dataclass
class _Piece:
    """What one piece of the context contributes: the values (..., M, Dv) weighted by exp(score - peak), and these weights' sum (..., M)."""

    out: torch.Tensor
    total: torch.Tensor
    peak: torch.Tensor


def _merge(pieces: Sequence[_Piece]) -> _Piece:
    """Return the pieces as one."""
    if len(pieces) == 1:
        return pieces[0]
    peak = pieces[0].peak
    for piece in pieces[1:]:
        peak = torch.maximum(peak, piece.peak)
    scales = [(piece.peak - peak).exp_() for piece in pieces]
    out = sum(piece.out * scale[..., None] for piece, scale in zip(pieces, scales, strict=True))
    total = sum(piece.total * scale for piece, scale in zip(pieces, scales, strict=True))
    return _Piece(torch.as_tensor(out), torch.as_tensor(total), peak)


def _attend_block(
    layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, block: Block, how: _How
) -> torch.Tensor:
    """Return (R, n, H, Dv) for a block's tokens: each sees its row's path, its row's own tokens before it, and itself."""
    (rows, n), heads, kv_heads = block.tokens.shape, query.shape[0], key.shape[0]
    keys, values = block.store.layer(layer, key, value)  # (P, KH, g, D)
    block.write(keys, key)
    block.write(values, value)
    asked = query[:, block.tokens].unflatten(0, (kv_heads, heads // kv_heads))  # (KH, G, R, n, D)
    asked = asked.permute(2, 0, 1, 3, 4).reshape(rows, kv_heads, -1, query.shape[2])  # (R, KH, G n, D)
    last = block.at[:, None, None].expand(-1, 1, heads // kv_heads, -1).flatten(2)  # (R, 1, G n)
    own = how.piece(asked, block.mine(keys), block.mine(values), last)
    whole = _merge([own, *(_shared(layer, asked, block, group, how) for group in block.groups)])
    out = (whole.out / whole.total[..., None]).to(value.dtype)
    return out.view(rows, heads, n, -1).transpose(1, 2)


def _decode_block(
    layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, block: Block, how: _How, out: torch.Tensor
) -> None:
    """Put the attention of a block whose rows take one token each into out (N, H, Dv): each sees its path, its own tokens, and itself."""
    kept = block.store.layer(layer, key, value)
    before = None
    if block.groups:
        asked = query[:, block.tokens[:, 0]].unflatten(0, (key.shape[0], -1)).permute(2, 0, 1, 3)  # (R, KH, G, D)
        piece = _merge([_shared(layer, asked, block, group, how) for group in block.groups])
        before = (piece.out, piece.total, piece.peak)
    places = (block.pages, block.tokens[:, 0], block.at[:, 0])
    decode.attend((query, key, value), kept, places, before, (how.scaling, how.window, how.softcap), out)


def _shared(
    layer: int, query: torch.Tensor, block: Block, group: tuple[torch.Tensor | None, Part, int], how: _How
) -> _Piece:
    """Return what a shared piece contributes to every row (R, KH, G n, ...): nothing to those that do not share it."""
    places, part, start = group
    keys, values = part.layer(layer)  # (KH, t, D)
    asking = query if places is None else query[places]
    count, kv_heads, each, width = asking.shape
    last = None
    if how.window is not None:
        position = block.before + block.at - start  # (R, n)
        position = position if places is None else position[places]
        last = position[:, None].expand(-1, each // position.shape[1], -1).reshape(-1)  # (R G n,)
    piece = how.piece(asking.transpose(0, 1).reshape(kv_heads, count * each, width), keys, values, last)
    out, total, peak = (
        part.unflatten(1, (count, each)).transpose(0, 1) for part in (piece.out, piece.total, piece.peak)
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
