"""Answers sampled from a policy, and everything PPO needs to know about them, as padded tensors on the CPU.

Shapes: B answers, T positions of prompt and answer together, padded on the right. A mask's 1 means: this token is an action,
sampled by the policy, its end-of-turn token included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from chains.models.engine import Engine, Request, Sampling
from chains.models.scorer import Scorer
from tuning import encode, losses, reading


@dataclass(frozen=True)
class Answers:
    """What a policy said to B prompts."""

    ids: torch.Tensor
    """(B, T): prompt, answer, padding."""
    mask: torch.Tensor
    """(B, T): 1 where a token was sampled."""
    ended: torch.Tensor
    """(B,): 1 where the answer ended its turn within max_tokens."""
    rows: list[list[int]]
    """Each prompt and answer without padding."""
    texts: list[str]
    logps: torch.Tensor | None = None
    """(B, T): each action's log-probability as the engine drew it, 0 elsewhere; None where it was not asked for."""

    @property
    def lengths(self) -> torch.Tensor:
        """The number of sampled tokens of each answer: (B,)."""
        return self.mask.sum(dim=1)

    def at(self, places: torch.Tensor) -> "Answers":
        """Return the answers at `places`, cut to their own longest row."""
        rows = [self.rows[i] for i in places.tolist()]
        width = max(map(len, rows))
        texts = [self.texts[i] for i in places.tolist()]
        logps = None if self.logps is None else self.logps[places, :width]
        return Answers(self.ids[places, :width], self.mask[places, :width], self.ended[places], rows, texts, logps)


@dataclass(frozen=True)
class Trajectory:
    """Answers with what was true when they were sampled; every tensor but `scores` is (B, T) and 0 outside the mask."""

    answers: Answers
    logps: torch.Tensor
    reference: torch.Tensor
    values: torch.Tensor
    scores: torch.Tensor
    """(B,): the reward model's, the penalty for a missing end already taken."""

    @property
    def kl(self) -> torch.Tensor:
        """Each answer's log(pi / pi_ref) summed over its tokens, (B,): its mean estimates the KL divergence in nats."""
        return (self.logps - self.reference).sum(dim=1)

    def at(self, places: torch.Tensor) -> "Trajectory":
        """Return the trajectory of the answers at `places`, cut to their own longest row."""
        answers = self.answers.at(places)
        width = answers.ids.shape[1]
        logps, reference, values = (t[places, :width] for t in (self.logps, self.reference, self.values))
        return Trajectory(answers, logps, reference, values, self.scores[places])


def sample(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    seeds: Sequence[int],
    temperature: float = 1.0,
    logps: bool = False,
) -> Answers:
    """Return one sampled answer a prompt; answer i's random stream is `seeds[i]`'s, whatever else is sampled with it.

    Prompts that are equal are read once. With `logps` the engine's own log-probabilities come with them.
    """
    requests = [
        Request(tuple(prompt), Sampling(max_tokens=max_tokens, temperature=temperature, seed=seed, logprobs=logps))
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    done = engine.generate(requests)
    rows = [[*prompt, *completion.token_ids] for prompt, completion in zip(prompts, done, strict=True)]
    marks = [
        [0] * len(prompt) + [1] * len(completion.token_ids) for prompt, completion in zip(prompts, done, strict=True)
    ]
    ended = torch.tensor([completion.finish_reason == "stop" for completion in done]).float()
    mask = encode.pad(marks)
    drawn = [logp for completion in done for logp in completion.logprobs]
    said = torch.zeros(mask.shape).masked_scatter(mask.bool(), torch.tensor(drawn)) if logps else None
    return Answers(encode.pad(rows), mask, ended, rows, [completion.text for completion in done], said)


def action_logps(model: Any, answers: Answers, packed: bool = False) -> torch.Tensor:
    """Return log pi of every action (B, T), 0 elsewhere; gradients flow where they are wanted. `packed`: `model` attends to packs."""
    seen = reading.read(answers, packed)
    logits = seen.logits(model)
    return seen.spread(losses.token_logps(logits, seen.targets(logits)))


def action_logps_and_entropy(model: Any, answers: Answers, packed: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `action_logps` does, and the entropy in nats, without gradients, of what each action was drawn from: both (B, T)."""
    seen = reading.read(answers, packed)
    logits = seen.logits(model)
    logps, entropy = losses.token_logps_and_entropy(logits, seen.targets(logits))
    return seen.spread(logps), seen.spread(entropy)


def penalised_scores(scorer: Scorer, answers: Answers, missing_end_penalty: float) -> torch.Tensor:
    """Return each answer's score (B,), `missing_end_penalty` less where the answer never ended."""
    return torch.tensor(scorer.score_ids(answers.rows)) - missing_end_penalty * (1 - answers.ended)
