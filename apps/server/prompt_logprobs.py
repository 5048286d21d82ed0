"""What a model itself gives the tokens of a prompt, for `echo` with `logprobs`: evaluation harnesses score choices by it.

Shapes: T positions, V vocabulary.
"""

from typing import TYPE_CHECKING, Any

from chains.errors import UsageError

if TYPE_CHECKING:
    from chains.models.engine import Engine

Likely = list[tuple[int, float]]


def prompt_logprobs(engine: "Engine", ids: list[int], count: int) -> tuple[list[float | None], list[Likely | None]]:
    """Return each token's log-probability given those before it, and the `count` likeliest in its place; None for the first.

    Raises UsageError where the model carries adapters, which requests share.
    """
    import torch

    if hasattr(engine.model, "peft_config"):
        raise UsageError(
            "echo with logprobs is not there for a model with adapters; merge the adapter, or leave echo out"
        )
    with torch.inference_mode():
        logits: Any = engine.model(torch.tensor([ids], device=engine.model.device)).logits[0, :-1]  # (T-1, V)
        logps = logits.float().log_softmax(dim=-1)
        chosen = logps.gather(1, torch.tensor(ids[1:], device=logps.device)[:, None])[:, 0].tolist()
        values, places = logps.topk(min(count, logps.shape[-1]), dim=-1)
    top = [list(zip(*pair, strict=True)) for pair in zip(places.tolist(), values.tolist(), strict=True)]
    return [None, *chosen], [None, *top]
