"""The objectives, as pure functions of tensors.

Shapes: B sequences, T positions, N supervised tokens, P prompts, K answers to a prompt. A mask's 1 means: this position counts.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

PIECE = 32
"""Rows of a vocabulary's numbers that a CPU looks at together."""
GPU_PIECE = 2**26
"""Numbers that a GPU looks at together: enough to be at its best, and 256 MB."""


def token_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean negative log-likelihood in nats a token: `logits` (N, V), `targets` (N,). GPT (Radford et al. 2018) Eq. 1."""
    return F.cross_entropy(logits.float(), targets)


def token_logps(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return each target's log-probability (N,) under `logits` (N, V), in float32."""
    return -F.cross_entropy(logits.float(), targets, reduction="none")


def token_logps_and_entropy(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `token_logps` does, and the entropy in nats (N,) of each distribution, which has no gradient.

    Each is one pass over the vocabulary, in pieces that stay in a CPU's cache; the backward pass takes no memory of its own.
    """
    logps, entropy = _TokenLogps.apply(logits, targets)
    return logps, entropy


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logp = torch.log_softmax(logits, dim=-1, dtype=torch.float32)  # (N, V)
        pieces = PIECE if logp.device.type == "cpu" else max(PIECE, GPU_PIECE // logp.shape[1])
        entropy = torch.cat([-(piece.exp() * piece).sum(dim=-1) for piece in logp.split(pieces)])
        ctx.save_for_backward(logp, targets)
        ctx.dtype = logits.dtype
        ctx.mark_non_differentiable(entropy)
        return logp.gather(1, targets[:, None])[:, 0], entropy

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        logp, targets = ctx.saved_tensors
        given = gradients[0][:, None]
        to_logits = logp.exp_().mul_(-given).scatter_add_(1, targets[:, None], given)  # given (onehot - p)
        return to_logits.to(ctx.dtype), None


def ranking_loss(scores: list[torch.Tensor], ranks: list[torch.Tensor]) -> torch.Tensor:
    """Return the mean over prompts of -1/C(K,2) sum log sigma(r_w - r_l). InstructGPT (arXiv 2203.02155) Eq. 1.

    `scores[p]` and `ranks[p]` are (K,), rank 1 the best. All pairs of a prompt count together as one element; tied pairs are dropped,
    and a prompt's sum is divided by the pairs that remain. Prompts whose answers all tie add nothing.
    """
    losses = [-F.logsigmoid(gaps).mean() for gaps in map(pair_gaps, scores, ranks) if len(gaps)]
    return torch.stack(losses).mean() if losses else scores[0].sum() * 0


def pair_gaps(scores: torch.Tensor, ranks: torch.Tensor) -> torch.Tensor:
    """Return r_w - r_l for every pair of one prompt that is not tied: (pairs,)."""
    better = ranks[:, None] < ranks[None, :]  # (K, K): row is better than column
    return (scores[:, None] - scores[None, :])[better]


def implicit_rewards(
    logps: Sequence[torch.Tensor], reference: Sequence[torch.Tensor], beta: float
) -> list[torch.Tensor]:
    """Return beta log(pi / pi_ref) of each prompt's answers, (K,) each: DPO's reward (arXiv 2305.18290 Eq. 5, without its constant).

    Their `ranking_loss` over two answers is DPO's Eq. 7.
    """
    return [beta * (own - other) for own, other in zip(logps, reference, strict=True)]


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of `values` (B, T) where `mask` is 1, over all sequences together."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def whiten(values: torch.Tensor, mask: torch.Tensor, noise: float = 0.0) -> torch.Tensor:
    """Return `values` (B, T) with mean 0 and variance 1 over the positions where `mask` is 1, and 0 elsewhere; `noise` alone is not widened to 1."""
    mean = masked_mean(values, mask)
    count = mask.sum().clamp(min=2)
    variance = (((values - mean) ** 2) * mask).sum() / (count - 1)
    return (values - mean) * torch.rsqrt(variance + noise**2 + 1e-8) * mask


def rounding(values: torch.Tensor, mask: torch.Tensor, dtype: str) -> float:
    """Return what differences between values of this size (B, T) are worth nothing, where a model in `dtype` says them: 4 of its last places."""
    size = masked_mean(values**2, mask).sqrt().item()
    return 4 * torch.finfo(getattr(torch, dtype)).eps * size


def penalised_rewards(
    scores: torch.Tensor, logps: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor, beta: float
) -> torch.Tensor:
    """Return the reward of each action (B, T): -beta (log pi - log pi_ref) everywhere, plus the score (B,) on the last action.

    InstructGPT (arXiv 2203.02155) Eq. 2 without the pretraining term, its KL spread over tokens as in Ziegler et al. (arXiv 1909.08593).
    """
    rewards = -beta * (logps - reference) * mask
    last = last_action(mask)
    return rewards.scatter_add(1, last[:, None], scores[:, None].to(rewards.dtype))


def last_action(mask: torch.Tensor) -> torch.Tensor:
    """Return the place of the last 1 in each row of `mask` (B, T): (B,)."""
    places = torch.arange(mask.shape[1], device=mask.device)
    return (mask * (places + 1)).argmax(dim=1)


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return advantages and returns (B, T) by generalised advantage estimation (arXiv 1506.02438 Eq. 16), undiscounted.

    `values[:, t]` is the value before action t. Actions of a row are contiguous; the value after the last one is 0.
    """
    values = values * mask
    advantages = torch.zeros_like(rewards)
    running = torch.zeros_like(rewards[:, 0])
    following = torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + following - values[:, t]
        running = (delta + lam * running) * mask[:, t]
        advantages[:, t] = running
        following = values[:, t]
    return advantages, advantages + values


def policy_loss(
    logps: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor, clip: float
) -> torch.Tensor:
    """Return PPO's clipped surrogate, negated: arXiv 1707.06347 Eq. 7, averaged over all actions of the minibatch."""
    ratio = torch.exp(logps - old)
    plain, clipped = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    return masked_mean(-torch.minimum(plain, clipped), mask)


def value_loss(
    values: torch.Tensor, old: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, clip: float
) -> torch.Tensor:
    """Return half the larger of the plain and the clipped squared error, as in Stiennon et al. (arXiv 2009.01325)'s code line."""
    clipped = old + (values - old).clamp(-clip, clip)
    return 0.5 * masked_mean(torch.maximum((values - returns) ** 2, (clipped - returns) ** 2), mask)
