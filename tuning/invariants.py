"""What must hold in the first round of reinforcement learning, before any learning; a broken one stops the run with its usual cause."""

import torch

from chains.errors import ModelError
from tuning import losses
from tuning.actors import Actors
from tuning.rollout import Answers, Trajectory

Broken = tuple[bool, str, str]
"""(it is broken, what is wrong, the usual cause)."""


def check_first_round(actors: Actors, seen: Trajectory, rewards: torch.Tensor) -> None:
    """Raise ModelError, naming the usual cause, where PPO's first round breaks what must hold: `check_start`'s, and the reward's place.

    An answer's score sits on its last action alone.
    """
    with torch.no_grad():
        fresh, _ = actors.logps(seen.answers)
    check_start(seen.logps, fresh, seen.reference, seen.answers, actors.engine.ends)
    last = losses.last_action(seen.answers.mask)[:, None]
    alone = torch.zeros_like(rewards).scatter(1, last, seen.scores[:, None])
    _stop(
        [
            (
                not torch.allclose(rewards, alone, atol=1e-2),
                "the score does not lie on each answer's last action alone",
                "the reward index is off by one",
            )
        ]
    )


def check_start(
    recorded: torch.Tensor, fresh: torch.Tensor, reference: torch.Tensor, answers: Answers, ends: frozenset[int]
) -> None:
    """Raise ModelError, naming the usual cause, where the policy is not where it starts; log-probabilities are (B, T).

    The ratio of a `fresh` forward to the `recorded` one is 1; the policy is still the reference, so the KL is 0; every answer has an
    action and, where it ended, its last one is an end-of-turn token.
    """
    off, kl = (fresh - recorded).abs().max().item(), (recorded - reference).sum(dim=1).abs().max().item()
    _stop(
        [
            (
                off > 1e-3,
                f"the ratio to the recorded policy is not 1 (log-ratio {off:.2g})",
                "dropout is on, or position ids differ",
            ),
            (
                kl > 1e-2,
                f"the KL to the reference is not 0 (up to {kl:.2g} nats)",
                "the reference is another model than the policy's start, or a mask is shifted",
            ),
            (
                bool((answers.mask.sum(dim=1) == 0).any()),
                "an answer has no token",
                "the engine returned an empty completion",
            ),
            (
                _wrong_ends(ends, answers),
                "an ended answer's last action is not the end-of-turn token",
                "the mask leaves the end token out",
            ),
        ]
    )


def _stop(checks: list[Broken]) -> None:
    for broken, what, cause in checks:
        if broken:
            raise ModelError(f"the first round is wired wrong: {what}; the usual cause: {cause}")


def _wrong_ends(ends: frozenset[int], answers: Answers) -> bool:
    last = answers.ids.gather(1, losses.last_action(answers.mask)[:, None])[:, 0]
    return any(ended and token not in ends for ended, token in zip(answers.ended.tolist(), last.tolist(), strict=True))
