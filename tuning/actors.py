"""The models of PPO and what each is asked: the policy, its reference, the value of a state, and the reward model.

Apart, as in InstructGPT (arXiv 2203.02155, C.4), they are four: the reference is the policy's frozen start and the value model starts as
the reward model. On a shared trunk the value is a head of the policy, so that one forward and one backward serve both; with LoRA the
reference is the policy with its adapter switched off. Shapes: B answers, T positions.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch

from chains.models.engine import Engine
from chains.models.scorer import Scorer
from tuning import adapter, averaging, base, rollout
from tuning.configs import PPOConfig
from tuning.forward import chosen_logits, chosen_tokens, spread, state_values
from tuning.optimizer import Optimizer

BETAS, EPS = (0.9, 0.95), 1e-5
"""Of AdamW: InstructGPT's betas (C), Ziegler et al.'s epsilon (arXiv 1909.08593's code)."""


@dataclass(frozen=True)
class Seen:
    """What the trained models say of some answers, each (B, T) and 0 outside the mask."""

    logps: torch.Tensor
    entropy: torch.Tensor
    values: torch.Tensor


@dataclass(frozen=True)
class Actors:
    """PPO's models in memory with their optimisers."""

    policy: Any
    reference: Any
    """The policy's frozen start; None where it is the policy with its adapter off."""
    value: Any
    """A model with a scalar head, or, on a shared trunk, the head alone."""
    scorer: Scorer
    engine: Engine
    optimizers: dict[str, Optimizer]
    """`policy` and `value`; on a shared trunk `policy` alone, the head's weights among its own."""
    average: Any = None
    """The running average of the policy's weights, where one is kept."""

    @property
    def shared(self) -> bool:
        """Whether the value is a head on the policy's trunk."""
        return "value" not in self.optimizers

    @property
    def modules(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        averaged = {} if self.average is None else {"average": self.average}
        return {"policy": self.policy, "value": self.value, **averaged}

    def logps(self, answers: rollout.Answers) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the policy's log-probability of every action and its entropy there."""
        return rollout.action_logps_and_entropy(self.policy, answers)

    def values(self, answers: rollout.Answers) -> torch.Tensor:
        """Return the value of the state before every action."""
        if self.shared:
            return self.both(answers).values
        return state_values(self.value, answers.ids, answers.mask)

    def both(self, answers: rollout.Answers) -> Seen:
        """Return what `logps` and `values` do; on a shared trunk by one forward."""
        if not self.shared:
            return Seen(*self.logps(answers), self.values(answers))
        logits, values = logits_and_values(self.policy, self.value, answers.ids, answers.mask)
        logp = torch.log_softmax(logits.float(), dim=-1)  # (N, V)
        chosen = logp.gather(1, chosen_tokens(answers.ids, answers.mask)[:, None])[:, 0]
        entropy = -(logp.exp() * logp).sum(dim=-1)
        return Seen(*(spread(each, answers.mask) for each in (chosen, entropy, values)))

    @torch.no_grad()
    def reference_logps(self, answers: rollout.Answers) -> torch.Tensor:
        """Return the log-probability of every action under the model that the policy started as."""
        if self.reference is not None:
            return rollout.action_logps(self.reference, answers)
        with adapter.off(self.policy):
            return rollout.action_logps(self.policy, answers)

    @torch.no_grad()
    def judge(self, answers: rollout.Answers, missing_end_penalty: float) -> rollout.Trajectory:
        """Return the answers with the log-probabilities, values and scores of this moment."""
        scores = rollout.penalised_scores(self.scorer, answers, missing_end_penalty)
        seen = self.both(answers)
        reference = self.reference_logps(answers)
        return rollout.Trajectory(answers, seen.logps, reference, seen.values, scores)


def logits_and_values(
    model: Any, head: Any, ids: torch.Tensor, chosen: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits (N, V) and the values (N,) of the states before the chosen tokens, by one forward of `model`."""
    kept: list[torch.Tensor] = []
    handle = model.get_output_embeddings().register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
    try:
        logits = chosen_logits(model, ids, chosen)
    finally:
        handle.remove()
    hidden = kept[0][:, :-1][chosen[:, 1:].bool()]  # (N, D)
    return logits, head(hidden)[:, 0].float()


def made(start: base.Base, reward: base.Base, config: PPOConfig) -> Actors:
    """Return the actors of a run that improves `start` by the word of `reward`."""
    model = start.model.eval()
    policy = adapter.put_on(model, config.lora_rank, config.lora_alpha, config.seed) if config.lora_rank else model
    reference = None if config.lora_rank else copy.deepcopy(model).requires_grad_(False)
    value = zero_head(policy) if config.shared_trunk else copy.deepcopy(reward.model).eval()
    average = averaging.started(policy) if config.ema is not None else None
    groups = {"policy": [policy, value]} if config.shared_trunk else {"policy": [policy], "value": [value]}
    optimizers = {name: Optimizer(modules, 0.0, config.clip, BETAS, EPS) for name, modules in groups.items()}
    scorer = Scorer(reward.model.requires_grad_(False), reward.tokenizer, float(reward.meta.get("shift", 0.0)))
    engine = Engine(policy, start.tokenizer, max_batch=config.batch_size)
    return Actors(policy, reference, value, scorer, engine, optimizers, average)


def zero_head(model: Any) -> torch.nn.Linear:
    """Return a scalar head for the model's trunk that says 0 of every state: it begins as no baseline, not as a wrong one."""
    head = torch.nn.Linear(model.get_output_embeddings().weight.shape[1], 1, bias=False)
    torch.nn.init.zeros_(head.weight)
    return head
