"""A model's numbers at the positions that count, and no others: the output head over a whole vocabulary is the dearest product of a small model.

Shapes: B sequences, T positions, N chosen positions, V vocabulary.
"""

from typing import Any

import torch


def chosen_logits(model: Any, ids: torch.Tensor, chosen: torch.Tensor, **inputs: Any) -> torch.Tensor:
    """Return the logits (N, V) of the tokens where `chosen` (B, T) is 1, row by row: position t's logits come from the tokens before t.

    `ids` (B, T) is padded on the right; position 0 cannot be chosen. The head sees only the N positions, in any architecture, since its
    input is cut before it; what the model does after its head must be elementwise (a scale or a soft cap is). `inputs` are what the
    model is called with in place of `ids` alone, as a pack is.
    """
    wanted = chosen[:, 1:].bool()  # (B, T-1)

    def cut(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (inputs[0][:, :-1][wanted],)  # (N, D)

    handle = model.get_output_embeddings().register_forward_pre_hook(cut)
    try:
        return model(**(inputs or {"input_ids": ids, "use_cache": False})).logits
    finally:
        handle.remove()


def chosen_tokens(ids: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return the tokens (N,) where `chosen` (B, T) is 1, in the order of `chosen_logits`."""
    return ids[:, 1:][chosen[:, 1:].bool()]


def spread(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return `values` (N,) put back at their positions in a (B, T) tensor, 0 elsewhere; gradients flow through."""
    full = torch.zeros(chosen.shape, dtype=values.dtype, device=values.device)
    return full.masked_scatter(chosen.bool(), values)


def state_values(model: Any, ids: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return a scalar-head model's value of the state before each chosen token, (B, T), 0 where `chosen` is 0."""
    hidden = model.base_model(input_ids=ids).last_hidden_state  # (B, T, D)
    values = model.score(hidden)[..., 0].float()  # (B, T)
    before = torch.cat([values[:, :1], values[:, :-1]], dim=1)  # the value at t-1 is that of the state before token t
    return before * chosen
