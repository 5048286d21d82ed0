"""Many sequences in one row with no padding: each attends within itself, and the answers to one prompt share that prompt's positions.

It is an attention function in transformers' AttentionInterface, so the model's own code runs unchanged, forward and backward. `refusal` says
why a model cannot be run so. Shapes: N tokens of all pieces, H heads, KH key heads, G = H / KH, n tokens of a piece, T of it and what it
follows, D head width.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from transformers import AttentionInterface

from chains.errors import ModelError
from chains.models import attending as attention
from tuning import gathered, placement

NAME = "chaintune_training"
LONG = 1024
"""From so many tokens on, scores are not kept for the backward pass: torch's own attention recomputes them."""


@dataclass(frozen=True)
class Pack:
    """Pieces of text laid end to end; a piece sees itself, and before that the piece that it follows."""

    ids: torch.Tensor
    """(1, N)."""
    positions: torch.Tensor
    """(1, N): a piece that follows another goes on counting where that one ends."""
    lengths: tuple[int, ...]
    follows: tuple[int | None, ...]
    """For each piece the number of the piece before it; None: it begins a sequence."""

    @property
    def ends(self) -> torch.Tensor:
        """Return the place of each piece's last token."""
        return torch.tensor(self.lengths).cumsum(0) - 1

    @property
    def leaves(self) -> torch.Tensor:
        """Return the place of the last token of each piece that no other follows: in `branches` the answers."""
        trunks = set(self.follows)
        return self.ends[[place not in trunks for place in range(len(self.lengths))]]


def rows(sequences: Sequence[Sequence[int]]) -> Pack:
    """Return the sequences side by side, none of which sees another."""
    return _pack(sequences, [None] * len(sequences))


def branches(groups: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]) -> Pack:
    """Return each group's (prompt, answers) as one piece for the prompt and one for each answer, which follows it; an empty prompt is no piece."""
    pieces: list[Sequence[int]] = []
    follows: list[int | None] = []
    for prompt, answers in groups:
        trunk = len(pieces) if prompt else None
        pieces += [prompt, *answers] if prompt else answers
        follows += [None, *[trunk] * len(answers)] if prompt else [None] * len(answers)
    return _pack(pieces, follows)


def _pack(pieces: Sequence[Sequence[int]], follows: Sequence[int | None]) -> Pack:
    starts = [0 if before is None else len(pieces[before]) for before in follows]
    ids = [token for piece in pieces for token in piece]
    positions = [start + t for piece, start in zip(pieces, starts, strict=True) for t in range(len(piece))]
    return Pack(torch.tensor([ids]), torch.tensor([positions]), tuple(map(len, pieces)), tuple(follows))


def arguments(pack: Pack) -> dict[str, Any]:
    """Return what a transformers model is called with to read the pack, inside `attending`."""
    return {"input_ids": pack.ids, "position_ids": pack.positions, "use_cache": False, "pack": pack}


def attending(model: Any) -> AbstractContextManager[None]:
    """Give the model this attention while the block runs; a backward pass that computes a layer again belongs inside."""
    return attention.attending(model, NAME)


def refusal(model: Any) -> str | None:
    """Return why the model cannot read packs (tried on a few tokens), or None where each piece gets what it gets alone."""
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    trunk, size = inner.base_model, model.config.get_text_config().vocab_size
    first, second, third = ([token % size for token in ids] for ids in ((11, 7, 5), (13, 3), (2, 17, 19, 23)))
    training, device = model.training, placement.of(model)
    try:
        with torch.no_grad():
            model.eval()
            alone = [
                trunk(input_ids=torch.tensor([ids], device=device), use_cache=False).last_hidden_state[0, -1]
                for ids in (first + second, first + third)
            ]
            pack = branches([(first, [second, third])])
            with attending(model):
                said = trunk(**placement.given(arguments(pack), device)).last_hidden_state[0]
                found = said[placement.moved(pack.ends[1:], device)]
    except Exception as error:  # code of any model: whatever it raises, it is run another way
        return f"a packed forward fails ({type(error).__name__}: {str(error).splitlines()[0]})"
    finally:
        model.train(training)
    off = (found - torch.stack(alone)).abs().max() / torch.stack(alone).abs().max().clamp(min=1)
    return None if off < (1e-3 if found.dtype == torch.float32 else 5e-2) else f"a packed forward is off by {off:.2g}"


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    pack: Pack | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention's output (1, N, H, D) for query (1, H, N, D), key (1, KH, N, D) and value (1, KH, N, D)."""
    if pack is None or softcap is not None or s_aux is not None or dropout:
        raise ModelError(f"{type(module).__name__} needs more of its attention than a pack gives")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.device.type != "cpu":
        whole = gathered.attention(query[0], key[0], value[0], pack.lengths, pack.follows, scale, sliding_window)
        return whole.transpose(0, 1)[None], None
    asked, keys, values = (each[0].split(pack.lengths, dim=1) for each in (query, key, value))
    said = []
    for place, before in enumerate(pack.follows):
        own = keys[place], values[place]
        if before is not None:
            own = torch.cat([keys[before], own[0]], dim=1), torch.cat([values[before], own[1]], dim=1)
        said.append(_piece(asked[place], *own, scale, sliding_window))
    return torch.cat(said, dim=1).transpose(0, 1)[None], None


AttentionInterface.register(NAME, _attention)


def _piece(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: int | None
) -> torch.Tensor:
    """Return (H, n, D) for the last n of T tokens: query (H, n, D), key and value (KH, T, D).

    Plain products are 3 to 5 times as fast as torch's attention, forward and backward, for some hundred tokens on a CPU in bfloat16.
    """
    (heads, n, width), (kv_heads, total, _) = query.shape, key.shape
    if total > LONG:
        hidden = _hidden(total, query.dtype, window)[total - n : total, :total]
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(query[None], key[None], value[None], attn_mask=hidden, scale=scale, enable_gqa=heads > kv_heads)[
            0
        ]
    hidden = _hidden(total, query.dtype, window)[total - n : total, :total].repeat(heads // kv_heads, 1)
    scores = torch.baddbmm(
        hidden[None], query.reshape(kv_heads, heads // kv_heads * n, width), key.mT, alpha=scale
    )  # (KH, G n, T)
    return torch.bmm(torch.softmax(scores, dim=-1), value).view(heads, n, value.shape[-1])


def _hidden(total: int, dtype: torch.dtype, window: int | None) -> torch.Tensor:
    return _mask(1 << (total - 1).bit_length(), dtype, window)


@lru_cache(maxsize=8)
def _mask(size: int, dtype: torch.dtype, window: int | None) -> torch.Tensor:
    """Return what is added to the scores, (size, size): 0 where row sees column, -inf where that is later or too long ago."""
    later = torch.ones(size, size, dtype=torch.bool).triu(1)
    if window is not None:
        later |= torch.ones(size, size, dtype=torch.bool).tril(-window)
    return torch.zeros(size, size, dtype=dtype).masked_fill(later, -torch.inf)
