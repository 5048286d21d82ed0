"""GRPO and RLOO: reinforcement learning in which the answers to one prompt are each other's baseline, so that no value model is needed.

    grpo.train(grpo.Config(policy=m.name, prompts="prompts.jsonl", reward_model=rm.name))
    grpo.train(grpo.Config(policy=m.name, prompts="sums.jsonl", rule="exact"))             # a reward that can be checked
    grpo.train(grpo.Config(policy=m.name, prompts="p.jsonl"), rewards=[lambda row, answer: -len(answer)])

GRPO is arXiv 2402.03300, RLOO arXiv 2402.14740. The prompt of a group is read once by the engine. Dropout is off.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from chains.errors import UsageError
from chains.models import registry
from chains.models.engine import Engine
from tuning import (
    actors,
    adapter,
    base,
    evaluate,
    formats,
    frozen,
    group_losses,
    invariants,
    loop,
    losses,
    packing,
    placement,
    ppo,
    prompting,
    rollout,
)
from tuning.clock import Clock
from tuning.compute import Compute
from tuning.configs import GRPOConfig as Config
from tuning.configs import check
from tuning.optimizer import Optimizer
from tuning.rewards import Reward, Rewards, mark, rule

__all__ = ["Config", "train"]

ALGORITHMS = ("grpo", "rloo")


def train(
    config: Config,
    report: loop.Report = loop.silent,
    rewards: Sequence[Reward] = (),
    name: str | None = None,
    after_round: loop.Look | None = None,
) -> registry.Entry:
    """Improve `config.policy` by its rewards, register the new model and return its entry.

    `name` is the new model's (None: a fresh one); `after_round` sees the policy after each round and may add to its metrics. Raises UsageError where there is no reward, or something of a row does not fit, before anything is sampled.
    """
    check(config)
    if config.algorithm not in ALGORITHMS:
        raise UsageError(f"algorithm {config.algorithm!r} is unknown; use 'grpo' or 'rloo'")
    if not (config.reward_model or config.rule or rewards):
        raise UsageError("there is no reward; give reward_model, rule or, in Python, rewards=[a function]")
    parents = [config.policy, *([config.reward_model] if config.reward_model else [])]
    run = base.begin("grpo", config, parents, mark(rewards))
    name = name or registry.new_name(config.policy, config.suffix)
    training = made(config, rewards)

    def step(i: int) -> loop.Metrics:
        metrics = training.step(i)
        if after_round:
            after_round(i + 1, training.policy, training.engine.tokenizer, metrics)
        return metrics

    state = loop.State({"policy": training.policy}, {"policy": training.optimizer})
    history = loop.run(
        "grpo", config.iterations, step, state, run.folder, config.seed, report, tensorboard=config.tensorboard
    )
    words = training.engine.tokenizer
    best = frozen.whole(training.policy, config.policy, config.lora_rank, config.lora_alpha)
    facts = {"rewards": [getattr(each, "__qualname__", type(each).__qualname__) for each in rewards]} if rewards else {}
    return base.publish(run, name, best, words, history, seconds=training.clock.seconds, **facts)


@dataclass
class Training:
    """One run's models, rewards and prompts; `clock` counts where its time goes."""

    config: Config
    compute: Compute
    """What computes for the policy."""
    reference: Any
    """The policy's frozen start; None where it is the policy with its adapter off."""
    engine: Engine
    optimizer: Optimizer
    rewards: Rewards
    rows: list[formats.Row]
    prompts: list[list[int]]
    clock: Clock = field(default_factory=Clock)

    @property
    def policy(self) -> Any:
        """The policy with the weights that are trained."""
        return self.compute.master

    def step(self, i: int) -> loop.Metrics:
        """Do round i: sample a group to each prompt, reward, compare within the groups, learn, record."""
        config = self.config
        answers, rewards = self.play(i)
        reference, old = self.recorded(answers)
        kl = (old - reference).sum(dim=1)
        if i == 0:
            invariants.check_start(old, reference, answers, self.engine.ends, config.dtype)
        advantages = self.advantages(rewards, kl)
        rate = config.learning_rate * prompting.warmup(i, config.warmup_iterations)
        places = prompting.minibatches(len(kl), config.minibatch_size, config.epochs, i, config.seed)
        learned = [self.learn(answers.at(few), old[few], reference[few], advantages[few], rate) for few in places]
        return {
            "reward": rewards.mean().item(),
            "kl": kl.mean().item(),
            "tokens": answers.lengths.float().mean().item(),
            "ended": answers.ended.mean().item(),
            "distinct_2": evaluate.distinct(answers, 2),
            "told_apart": (rewards.view(-1, config.group_size).std(dim=1) > 0).float().mean().item(),
            **ppo.mean(learned),
        }

    def play(self, i: int) -> tuple[rollout.Answers, torch.Tensor]:
        """Return round i's answers, group after group, and their rewards (B,)."""
        config, group = self.config, self.config.group_size
        asked = [n for n in prompting.turn(len(self.prompts), config.batch_size, i, config.seed) for _ in range(group)]
        seeds = prompting.streams(len(asked), i, config.seed)
        with self.clock("rollout"), self.answering():
            chosen = [self.prompts[n] for n in asked]
            answers = rollout.sample(self.engine, chosen, config.max_tokens, seeds, logps=i == 0)
        with self.clock("scoring"):
            return answers, self.rewards.of(answers, [self.rows[n] for n in asked], config.missing_end_penalty)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Let the engine answer with the policy of this moment while the block runs."""
        self.compute.refresh()
        self.engine.weights_changed()
        with adapter.answering(self.engine, self.policy):
            yield

    @torch.no_grad()
    def recorded(self, answers: rollout.Answers) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the log-probability of every action under the reference and under the policy of this moment, both (B, T)."""
        packed = self.compute.packed
        with self.clock("scoring"), self.compute.reading() as policy:
            with adapter.off(policy), packing.attending(self.reference) if packed and self.reference else nullcontext():
                reference = rollout.action_logps(self.reference or policy, answers, packed)
            return reference, rollout.action_logps(policy, answers, packed)

    def advantages(self, rewards: torch.Tensor, kl: torch.Tensor) -> torch.Tensor:
        """Return each answer's advantage over its group (B,); RLOO's reward has the KL taken off, GRPO's loss has it as a term."""
        groups = (-1, self.config.group_size)
        if self.config.algorithm == "rloo":
            return group_losses.leave_one_out((rewards - self.config.kl_coefficient * kl).view(groups)).flatten()
        return group_losses.group_advantages(rewards.view(groups)).flatten()

    def learn(
        self,
        few: rollout.Answers,
        old: torch.Tensor,
        reference: torch.Tensor,
        advantages: torch.Tensor,
        rate: float,
    ) -> loop.Metrics:
        """Move the policy one optimiser step on a minibatch, and return what happened."""
        config, mask, width = self.config, few.mask, few.mask.shape[1]
        old, reference = old[:, :width], reference[:, :width]
        with self.clock("forward"):
            with self.compute.reading() as policy:
                logps, entropy = rollout.action_logps_and_entropy(policy, few, self.compute.packed)
            if config.algorithm == "rloo":
                loss = group_losses.rloo_loss(logps, old, advantages, mask, config.clip_range)
            else:
                loss = group_losses.grpo_loss(
                    logps, old, reference, advantages, mask, config.clip_range, config.kl_coefficient
                )
        with self.clock("backward"):
            loss.backward()
            self.compute.collect()
        with self.clock("optimiser"):
            norm = self.optimizer.update(rate)
        return {"loss": loss.item(), "entropy": losses.masked_mean(entropy, mask).item(), "gradient_norm": norm}


def made(config: Config, rewards: Sequence[Reward] = ()) -> Training:
    """Return a run of `config` before its first round. Raises UsageError where the files and models do not fit together."""
    rows = [row for _, row in formats.read(config.prompts)]
    messages = formats.read_prompts(config.prompts)
    known = [rule(config.rule, rows, config.prompts)] if config.rule else []
    device = placement.place(config.device)
    start, scorer = base.load(config.policy, device=device), None
    context = start.context
    if config.reward_model:
        judge = base.load(config.reward_model, "reward", device=device)
        ppo.same_vocabulary(start, judge)
        context = min(context, judge.context)
        scorer = actors.judge_of(judge, config.dtype)
    ids = prompting.prompt_ids(start.tokenizer, context, messages, config.prompts, config.max_tokens)
    policy, reference = actors.learner(start.model.eval(), config)
    engine = Engine(policy.model, start.tokenizer, max_batch=config.batch_size * config.group_size)
    optimizer = Optimizer([policy.master], 0.0, config.clip, actors.BETAS, actors.EPS)
    return Training(config, policy, reference, engine, optimizer, Rewards(scorer, [*known, *rewards]), rows, ids)
