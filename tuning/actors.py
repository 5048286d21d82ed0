"""The models of PPO and what each is asked: the policy, its reference, the value of a state, and the reward model.

Apart, as in InstructGPT (arXiv 2203.02155, C.4), they are four: the reference is the policy's frozen start and the value model starts as
the reward model. On a shared trunk the value is a head of the policy, so that one forward and one backward serve both; with LoRA the
reference is the policy with its adapter switched off. Shapes: B answers, T positions.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from chains.models.engine import Engine
from chains.models.scorer import Scorer
from tuning import adapter, averaging, base, losses, packing, placement, rollout
from tuning.compute import Compute, half, halved
from tuning.configs import GRPOConfig, PPOConfig
from tuning.optimizer import Optimizer
from tuning.reading import Reading, read

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
    computing: dict[str, Compute] = field(default_factory=dict)
    """What computes for the policy and the value, by name."""

    @property
    def shared(self) -> bool:
        """Whether the value is a head on the policy's trunk."""
        return "value" not in self.optimizers

    @property
    def modules(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        averaged = {} if self.average is None else {"average": self.average}
        return {"policy": self.policy, "value": self.value, **averaged}

    def compute(self, name: str) -> Compute:
        """Return what computes for the `policy` or the `value`: in float32, unless `made` was told otherwise."""
        if name not in self.computing:
            self.computing[name] = Compute(getattr(self, name))
        return self.computing[name]

    @contextmanager
    def answering(self) -> Iterator[Engine]:
        """Yield the engine, which answers with the policy of this moment, its adapter's change included, while the block runs."""
        self.compute("policy").refresh()
        self.engine.weights_changed()
        with adapter.answering(self.engine, self.policy):
            yield self.engine

    def collect(self) -> None:
        """Move the gradients from what computes onto the weights that train."""
        for compute in self.computing.values():
            compute.collect()

    def logps(self, answers: rollout.Answers) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the policy's log-probability of every action and its entropy there."""
        compute = self.compute("policy")
        with compute.reading() as policy:
            return rollout.action_logps_and_entropy(policy, answers, compute.packed)

    def values(self, answers: rollout.Answers) -> torch.Tensor:
        """Return the value of the state before every action."""
        if self.shared:
            return self.both(answers).values
        compute = self.compute("value")
        with compute.reading() as value:
            return read(answers, compute.packed).values(value)

    def both(self, answers: rollout.Answers) -> Seen:
        """Return what `logps` and `values` do; on a shared trunk by one forward."""
        if not self.shared:
            return Seen(*self.logps(answers), self.values(answers))
        compute = self.compute("policy")
        seen = read(answers, compute.packed)
        with compute.reading() as policy:
            logits, values = logits_and_values(policy, self.value, seen)
        chosen, entropy = losses.token_logps_and_entropy(logits, seen.targets(logits))
        return Seen(*(seen.spread(each) for each in (chosen, entropy, values)))

    @torch.no_grad()
    def reference_logps(self, answers: rollout.Answers) -> torch.Tensor:
        """Return the log-probability of every action under the model that the policy started as."""
        compute = self.compute("policy")
        if self.reference is None:
            with compute.reading() as policy, adapter.off(policy):
                return rollout.action_logps(policy, answers, compute.packed)
        with packing.attending(self.reference) if compute.packed else nullcontext():
            return rollout.action_logps(self.reference, answers, compute.packed)

    @torch.no_grad()
    def judge(
        self, answers: rollout.Answers, missing_end_penalty: float, seen: Seen | None = None
    ) -> rollout.Trajectory:
        """Return the answers with the log-probabilities, values and scores of this moment; `seen` is what `both` says of them, if it is known."""
        scores = rollout.penalised_scores(self.scorer, answers, missing_end_penalty)
        seen = seen or self.both(answers)
        reference = self.reference_logps(answers)
        return rollout.Trajectory(answers, seen.logps.detach(), reference, seen.values.detach(), scores)


def logits_and_values(model: Any, head: Any, seen: Reading) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits (N, V) and the values (N,) of the states before the actions, by one forward of `model`."""
    kept: list[torch.Tensor] = []
    handle = model.get_output_embeddings().register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
    try:
        logits = seen.logits(model)
    finally:
        handle.remove()
    hidden = kept[0].flatten(0, -2)[placement.moved(seen.before, logits.device)]  # (N, D)
    return logits, head(hidden.float())[:, 0]


def made(start: base.Base, reward: base.Base, config: PPOConfig) -> Actors:
    """Return the actors of a run that improves `start` by the word of `reward`."""
    policy, reference = learner(start.model.eval(), config)
    value = zero_head(policy.master) if config.shared_trunk else copy.deepcopy(reward.model).eval()
    average = averaging.started(policy.master) if config.ema is not None else None
    groups = (
        {"policy": [policy.master, value]} if config.shared_trunk else {"policy": [policy.master], "value": [value]}
    )
    optimizers = {name: Optimizer(modules, 0.0, config.clip, BETAS, EPS) for name, modules in groups.items()}
    computing = {"policy": policy} if config.shared_trunk else {"policy": policy, "value": Compute(value, config.dtype)}
    engine = Engine(policy.model, start.tokenizer, max_batch=config.batch_size)
    return Actors(
        policy.master, reference, value, judge_of(reward, config.dtype), engine, optimizers, average, computing
    )


def learner(model: Any, config: PPOConfig | GRPOConfig) -> tuple[Compute, Any]:
    """Return the policy that `model` starts, under an adapter where one is wanted, and its frozen reference (None: the adapter off).

    An adapter is in float32 whatever its base computes in; `frozen.whole` puts it on float32 weights again.
    """
    if config.lora_rank:
        under = halved(model) if config.dtype == "bfloat16" else model
        return Compute(adapter.put_on(under, config.lora_rank, config.lora_alpha, config.seed)), None
    policy = Compute(model, config.dtype)
    return policy, copy.deepcopy(policy.model).requires_grad_(False)


def judge_of(reward: base.Base, dtype: str) -> Scorer:
    """Return the reward model as what scores, in the numbers that are computed with."""
    model = reward.model if dtype == "float32" else half(reward.model)
    return Scorer(model.requires_grad_(False), reward.tokenizer, float(reward.meta.get("shift", 0.0)))


def zero_head(model: Any) -> torch.nn.Linear:
    """Return a scalar head for the model's trunk that says 0 of every state: it begins as no baseline, not as a wrong one."""
    weight = model.get_output_embeddings().weight
    head = torch.nn.Linear(weight.shape[1], 1, bias=False, device=weight.device)
    torch.nn.init.zeros_(head.weight)
    return head
