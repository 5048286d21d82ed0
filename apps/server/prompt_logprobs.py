"""What a model itself gives the tokens of a prompt, for `echo` with `logprobs`: evaluation harnesses score choices by it.

Shapes: T positions, V vocabulary.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chains.models.local_chat import LocalChat

Likely = list[tuple[int, float]]


def prompt_logprobs(model: "LocalChat", ids: list[int], count: int) -> tuple[list[float | None], list[Likely | None]]:
    """Return each token's log-probability given those before it, and the `count` likeliest in its place; None for the first."""
    import torch

    logps = _forward(model, ids).log_softmax(dim=-1)  # (T-1, V)
    chosen = logps.gather(1, torch.tensor(ids[1:], device=logps.device)[:, None])[:, 0].tolist()
    values, places = logps.topk(min(count, logps.shape[-1]), dim=-1)
    top = [list(zip(*pair, strict=True)) for pair in zip(places.tolist(), values.tolist(), strict=True)]
    return [None, *chosen], [None, *top]


def _forward(model: "LocalChat", ids: list[int]) -> Any:
    """Return the logits (T-1, V) of every token but the first, between two steps of the engine, which has the model in its own hands."""
    import torch

    from chains.models import adapters, packed

    net = model.engine.model
    with torch.inference_mode(), packed.alone(net), adapters.active(net, model.adapter):
        return net(torch.tensor([ids], device=net.device), use_cache=False).logits[0, :-1].float()
