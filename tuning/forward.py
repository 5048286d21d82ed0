"""A model's numbers at the positions that count, and no others: the output head over a whole vocabulary is the dearest product of a small model.

Shapes: B sequences, T positions, N chosen positions, V vocabulary.
"""

from typing import Any

import torch

from tuning import placement


def logits_at(model: Any, places: torch.Tensor, **inputs: Any) -> torch.Tensor:
    """Return the logits (N, V) at `places` (N,) among all the tokens that the model reads by `inputs`, counted row by row.

    The head sees only the N positions, in any architecture, since its input is cut before it; what the model does after its head must be
    elementwise (a scale or a soft cap is). What is given may be on the CPU; the logits are where the model is.
    """
    device = placement.of(model)
    chosen = placement.moved(places, device)

    def cut(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (given[0].flatten(0, -2)[chosen],)  # (N, D)

    handle = model.get_output_embeddings().register_forward_pre_hook(cut)
    try:
        logits: torch.Tensor = model(**placement.given(inputs, device)).logits
        return logits
    finally:
        handle.remove()


def hidden_at(trunk: Any, places: torch.Tensor, **inputs: Any) -> torch.Tensor:
    """Return the hidden states (N, D) at `places` (N,) among all the tokens that the trunk reads by `inputs`, counted row by row."""
    device = placement.of(trunk)
    hidden: torch.Tensor = trunk(**placement.given(inputs, device)).last_hidden_state
    return hidden.flatten(0, -2)[placement.moved(places, device)]


def chosen_logits(model: Any, ids: torch.Tensor, chosen: torch.Tensor, **inputs: Any) -> torch.Tensor:
    """Return the logits (N, V) of the tokens where `chosen` (B, T) is 1, row by row: position t's logits come from the tokens before t.

    `ids` (B, T) is padded on the right; position 0 cannot be chosen. `inputs` are what the model is called with in place of `ids` alone,
    as a pack is.
    """
    rows, before = chosen[:, 1:].nonzero(as_tuple=True)
    return logits_at(model, rows * chosen.shape[1] + before, **(inputs or {"input_ids": ids, "use_cache": False}))


def chosen_tokens(ids: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return the tokens (N,) where `chosen` (B, T) is 1, in the order of `chosen_logits`."""
    return ids[:, 1:][chosen[:, 1:].bool()]


def spread(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return `values` (N,) put back at their positions in a (B, T) tensor, 0 elsewhere; gradients flow through."""
    full = torch.zeros(chosen.shape, dtype=values.dtype, device=values.device)
    return full.masked_scatter(chosen.bool(), values)


def recompute_activations(model: Any) -> None:
    """Have a transformers model compute each layer's activations again in the backward pass, in place of keeping them."""
    name = "activation_checkpointing_enable"  # the older name goes with transformers 6
    getattr(model, name if hasattr(model, name) else "gradient_checkpointing_enable")({"use_reentrant": False})
