"""The running average of a model's weights: InstructGPT publishes it in place of the last weights (arXiv 2203.02155 C.4, decay 0.992).

The average is a module of its own, so that a checkpoint holds it as it holds any other; it is moved after every optimiser step.
"""

import copy
from typing import Any

import torch


def started(model: Any) -> Any:
    """Return the average of `model` before any step: its frozen copy."""
    return copy.deepcopy(model).requires_grad_(False)


@torch.no_grad()
def follow(average: Any, model: Any, decay: float) -> None:
    """Move `average` to decay x itself + (1 - decay) x `model`; a weight that is not trained stays exactly what it is."""
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    own = dict(average.named_parameters())
    for name, weight in trained.items():
        own[name].lerp_(weight, 1 - decay)
