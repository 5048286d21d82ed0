"""What must hold in PPO's first round, before any learning; a broken one stops the run with its usual cause."""

import torch

from chains.errors import ModelError
from tuning import losses
from tuning.actors import Actors
from tuning.rollout import Answers, Trajectory


def check_first_round(actors: Actors, seen: Trajectory, rewards: torch.Tensor) -> None:
    """Raise ModelError, naming the usual cause, where the first round breaks what must hold before any learning.

    The policy is still the reference, so the KL is 0; the ratio of a fresh forward to the recorded one is 1; every answer has an action,
    its reward sits on its last action and, where it ended, that action is the end-of-turn token.
    """
    mask = seen.answers.mask
    with torch.no_grad():
        fresh, _ = actors.logps(seen.answers)
    off, kl = (fresh - seen.logps).abs().max().item(), seen.kl.abs().max().item()
    alone = torch.zeros_like(rewards).scatter(1, losses.last_action(mask)[:, None], seen.scores[:, None])
    broken = [
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
        (bool((mask.sum(dim=1) == 0).any()), "an answer has no token", "the engine returned an empty completion"),
        (
            _wrong_ends(actors.engine.ends, seen.answers),
            "an ended answer's last action is not the end-of-turn token",
            "the mask leaves the end token out",
        ),
        (
            not torch.allclose(rewards, alone, atol=1e-2),
            "the score does not lie on each answer's last action alone",
            "the reward index is off by one",
        ),
    ]
    for bad, what, cause in broken:
        if bad:
            raise ModelError(f"PPO's first round is wired wrong: {what}; the usual cause: {cause}")


def _wrong_ends(ends: frozenset[int], answers: Answers) -> bool:
    last = answers.ids.gather(1, losses.last_action(answers.mask)[:, None])[:, 0]
    return any(ended and token not in ends for ended, token in zip(answers.ended.tolist(), last.tolist(), strict=True))
