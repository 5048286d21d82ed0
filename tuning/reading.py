"""How a model reads sampled answers: nothing is padded, a prompt is computed once for all its answers, and no answer's last token is computed.

A model that cannot read packs reads padded rows. Shapes: B answers, T positions, N actions of all answers, D width, V vocabulary.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tuning import packing, placement
from tuning.forward import hidden_at, logits_at

if TYPE_CHECKING:
    from tuning.rollout import Answers


@dataclass(frozen=True)
class Reading:
    """What a model is called with, and where in it the actions are."""

    inputs: dict[str, Any]
    before: torch.Tensor
    """(N,): among all tokens read, the place of the last one before each action."""
    actions: torch.Tensor
    """(N,): the sampled tokens."""
    places: torch.Tensor
    """(N,): each action's place in (B, T), counted row by row."""
    shape: torch.Size
    """(B, T)."""

    def targets(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the actions (N,) where `logits` are."""
        return placement.moved(self.actions, logits.device)

    def logits(self, model: Any) -> torch.Tensor:
        """Return the logits (N, V) that each action was drawn from."""
        return logits_at(model, self.before, **self.inputs)

    def values(self, model: Any) -> torch.Tensor:
        """Return a scalar-head model's value of the state before each action: (B, T), 0 elsewhere."""
        return self.spread(model.score(hidden_at(model.base_model, self.before, **self.inputs))[:, 0].float())

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """Return `values` (N,) at their actions' places in a (B, T) tensor of the CPU, 0 elsewhere; gradients flow through."""
        values = values.cpu()
        return values.new_zeros(self.shape.numel()).scatter(0, self.places, values).view(self.shape)


def read(answers: "Answers", packed: bool) -> Reading:
    """Return how a model that reads packs, or one that does not, reads the answers."""
    return _packed(answers) if packed else _padded(answers)


def _padded(answers: "Answers") -> Reading:
    places = answers.mask.flatten().nonzero()[:, 0]
    actions = answers.ids.flatten()[places]
    return Reading({"input_ids": answers.ids, "use_cache": False}, places - 1, actions, places, answers.ids.shape)


def _packed(answers: "Answers") -> Reading:
    groups: list[tuple[tuple[int, ...], list[list[int]]]] = []
    before: list[int] = []
    places: list[int] = []
    start = 0
    width = answers.ids.shape[1]
    for prompt, members in _by_prompt(answers).items():
        shared = prompt[:-1] if len(members) > 1 else ()
        pieces = [answers.rows[row][len(shared) : max(first + count - 1, 1)] for row, first, count in members]
        groups.append((shared, pieces))
        start += len(shared)
        for (row, first, count), piece in zip(members, pieces, strict=True):
            end = start + len(piece)
            before += range(end - count, end)
            places += range(row * width + first, row * width + first + count)
            start = end
    pack, at = packing.branches(groups), torch.tensor(places)
    return Reading(packing.arguments(pack), torch.tensor(before), answers.ids.flatten()[at], at, answers.ids.shape)


def _by_prompt(answers: "Answers") -> dict[tuple[int, ...], list[tuple[int, int, int]]]:
    """Return for each prompt its answers: (row, place of the first action, number of actions)."""
    groups: dict[tuple[int, ...], list[tuple[int, int, int]]] = defaultdict(list)
    for row, (ids, marks) in enumerate(zip(answers.rows, answers.mask, strict=True)):
        count = int(marks.sum())
        first = int(marks.argmax()) if count else len(ids)
        groups[tuple(ids[:first])].append((row, first, count))
    return groups
