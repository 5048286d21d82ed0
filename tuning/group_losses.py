"""GRPO's and RLOO's objectives, as pure functions of tensors.

Shapes: P prompts, G answers to each, B = P x G answers, T positions. A mask's 1 means: this token was sampled.
"""

import torch


def group_advantages(rewards: torch.Tensor) -> torch.Tensor:
    """Return each answer's reward less its group's mean, in standard deviations of the group: (P, G). GRPO (arXiv 2402.03300), section 4.1.2.

    A group whose rewards are all equal teaches nothing: its advantages are 0.
    """
    mean, deviation = rewards.mean(dim=1, keepdim=True), rewards.std(dim=1, keepdim=True)
    return (rewards - mean) / (deviation + 1e-4)


def leave_one_out(rewards: torch.Tensor) -> torch.Tensor:
    """Return each answer's reward less the mean of the others of its group: (P, G). RLOO (arXiv 2402.14740)."""
    others = (rewards.sum(dim=1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    return rewards - others


def kl_estimate(logps: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the estimate of KL(pi || pi_ref) at each token, never negative: arXiv 2402.03300 Eq. 4."""
    gap = reference - logps
    return torch.exp(gap) - gap - 1


def grpo_loss(
    logps: torch.Tensor,
    old: torch.Tensor,
    reference: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    clip: float,
    beta: float,
) -> torch.Tensor:
    """Return GRPO's objective, negated (arXiv 2402.03300 Eq. 3): `advantages` (B,), the rest (B, T); a mean over an answer's tokens, then over answers."""
    ratio, weight = torch.exp(logps - old), advantages[:, None]
    gain = torch.minimum(ratio * weight, ratio.clamp(1 - clip, 1 + clip) * weight)
    tokens = (gain - beta * kl_estimate(logps, reference)) * mask
    return -(tokens.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()


def rloo_loss(
    logps: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor, clip: float
) -> torch.Tensor:
    """Return RLOO's objective, negated: an answer is one action, so its ratio is that of the whole answer, clipped as PPO's; `advantages` (B,).

    While the policy has not moved, its gradient is REINFORCE's, - A grad log pi(answer) (arXiv 2402.14740).
    """
    ratio = torch.exp(((logps - old) * mask).sum(dim=1))
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()
