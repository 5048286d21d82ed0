"""What must hold in the first round of reinforcement learning, before any learning; a broken one stops the run with its usual cause."""

import torch

from chains.errors import ModelError
from tuning import losses
from tuning.rollout import Answers, Trajectory

NEAR = {"float32": 1e-3, "bfloat16": 0.1}
"""Nats an action may be off on average, by what is computed with: measured 1e-6 and 0.01 with 14 M random weights over 8,192 tokens."""
Broken = tuple[bool, str, str]
"""(it is broken, what is wrong, the usual cause)."""


def check_first_round(seen: Trajectory, rewards: torch.Tensor, ends: frozenset[int], dtype: str = "float32") -> None:
    """Raise ModelError, naming the usual cause, where PPO's first round breaks what must hold: `check_start`'s, and the reward's place.

    An answer's score sits on its last action alone.
    """
    check_start(seen.logps, seen.reference, seen.answers, ends, dtype)
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
    recorded: torch.Tensor,
    reference: torch.Tensor,
    answers: Answers,
    ends: frozenset[int],
    dtype: str = "float32",
) -> None:
    """Raise ModelError, naming the usual cause, where the policy is not where it starts; log-probabilities are (B, T).

    Every answer has an action and, where it ended, its last one is an end-of-turn token; what the policy is recorded to say of the answers
    is what the engine drew them with, so that the ratio is 1; the policy is still the reference, so the KL is 0. `answers` come with the
    engine's log-probabilities, which another forward computed: one token at a time.
    """
    off, kl = _mean_gap(recorded, answers), (recorded - reference).sum(dim=1).abs().max().item()
    _stop(
        [
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
            (
                not off <= NEAR[dtype],
                f"the ratio to the policy that sampled is not 1 (log-ratios of {off:.2g} on average)",
                "dropout is on, position ids differ, or the engine has other weights",
            ),
            (
                not kl <= 1e-2,
                f"the KL to the reference is not 0 (up to {kl:.2g} nats)",
                "the reference is another model than the policy's start, or a mask is shifted",
            ),
        ]
    )


def _mean_gap(recorded: torch.Tensor, answers: Answers) -> float:
    """Return the mean over the actions of how far the recorded log-probability is from the engine's."""
    assert answers.logps is not None
    return losses.masked_mean((recorded - answers.logps).abs(), answers.mask).item()


def _stop(checks: list[Broken]) -> None:
    for broken, what, cause in checks:
        if broken:
            raise ModelError(f"the first round is wired wrong: {what}; the usual cause: {cause}")


def _wrong_ends(ends: frozenset[int], answers: Answers) -> bool:
    last = answers.ids.gather(1, losses.last_action(answers.mask)[:, None])[:, 0]
    return any(ended and token not in ends for ended, token in zip(answers.ended.tolist(), last.tolist(), strict=True))
