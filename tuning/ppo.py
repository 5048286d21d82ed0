"""PPO against a reward model with a KL penalty, InstructGPT's third step (arXiv 2203.02155, Eq. 2; PPO: arXiv 1707.06347).

    model = ppo.train(ppo.Config(policy=sft_model.name, reward_model=rm.name, prompts="prompts.jsonl"))

A round samples answers, scores them, and learns from them. The policy starts as the SFT model, which stays beside it as the KL reference;
the value model starts as the reward model. Dropout is off in all four.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from chains.errors import ModelError, UsageError
from chains.models import registry
from chains.models.engine import Engine
from chains.models.scorer import Scorer
from tuning import averaging, base, encode, formats, loop, losses, pretrain
from tuning.configs import PPOConfig as Config
from tuning.configs import check
from tuning.forward import state_values
from tuning.optimizer import Optimizer
from tuning.rollout import Answers, Trajectory, action_logps_and_entropy, judge, sample
from tuning.sft import demonstration_loss

__all__ = ["Config", "train"]

PTX_WINDOW = 128
"""Tokens of a pretraining example, where the model's context is not shorter."""


@dataclass(frozen=True)
class Models:
    """The four models of PPO, the policy's average where one is kept, and the two optimisers."""

    policy: Any
    reference: Any
    value: Any
    scorer: Scorer
    engine: Engine
    policy_optimizer: Optimizer
    value_optimizer: Optimizer
    average: Any = None


def train(config: Config, report: loop.Report = loop.silent) -> registry.Entry:
    """Improve `config.policy` by the reward model's word, register the new model and return its entry.

    Raises UsageError where the two models do not share a vocabulary or a prompt does not fit, before anything is sampled, and
    ModelError where the first minibatch shows that something is wired wrong.
    """
    check(config)
    run = base.begin("ppo", config, [config.policy, config.reward_model])
    name = registry.new_name(config.policy, config.suffix)
    messages = formats.read_prompts(config.prompts)
    start, reward = base.load(config.policy), base.load(config.reward_model, kind="reward")
    if start.tokenizer.get_vocab() != reward.tokenizer.get_vocab():
        raise UsageError(
            f"{config.policy!r} and {config.reward_model!r} have different vocabularies; train the reward model from the policy"
        )
    prompts = _prompt_ids(start.tokenizer, min(start.context, reward.context), messages, config)
    models = _models(start, reward, config)
    mix = _ptx(config, start.tokenizer, start.context)
    averaged = {"average": models.average} if models.average is not None else {}
    state = loop.State(
        {"policy": models.policy, "value": models.value, **averaged},
        {"policy": models.policy_optimizer, "value": models.value_optimizer},
        {"beta": config.kl_coefficient},
    )

    def step(i: int) -> loop.Metrics:
        """One round: sample, judge, reward, learn, record."""
        beta, warm = state.numbers["beta"], _warmup(i, config.warmup_iterations)
        answers = sample(models.engine, *_batch(prompts, config, i))
        seen = judge(answers, models.policy, models.reference, models.value, models.scorer, config.missing_end_penalty)
        rewards = losses.penalised_rewards(seen.scores, seen.logps, seen.reference, answers.mask, beta)
        advantages, returns = losses.gae(rewards, seen.values, answers.mask, config.gae_lambda)
        advantages = losses.whiten(advantages, answers.mask)
        if i == 0:
            check_first_round(models, seen, rewards)
        learned = []
        for number, places in enumerate(_minibatches(config, i)):
            few = seen.at(places)
            width = few.answers.mask.shape[1]
            ptx = partial(mix, i * 1000 + number) if mix else None
            learned.append(_learn(models, few, advantages[places, :width], returns[places, :width], ptx, warm, config))
        models.engine.weights_changed()
        state.numbers["beta"] = adapted(beta, seen.kl.mean().item(), config)
        return {**_summary(seen, beta), **{key: sum(m[key] for m in learned) / len(learned) for key in learned[0]}}

    history = loop.run("ppo", config.iterations, step, state, run.folder, config.seed, report)
    return base.publish(
        run, name, models.policy if models.average is None else models.average, start.tokenizer, history
    )


def _learn(
    models: Models,
    few: Trajectory,
    advantages: torch.Tensor,
    returns: torch.Tensor,
    ptx: Callable[[Any], torch.Tensor] | None,
    warm: float,
    config: Config,
) -> loop.Metrics:
    """Move the policy and the value model one optimiser step on a minibatch, and return what happened."""
    mask = few.answers.mask
    logps, entropy = action_logps_and_entropy(models.policy, few.answers)
    policy_loss = losses.policy_loss(logps, few.logps, advantages, mask, config.clip_range)
    policy_loss.backward()
    if ptx is not None:
        (config.ptx_coefficient * ptx(models.policy)).backward()
    norm = models.policy_optimizer.update(config.learning_rate * warm)
    if models.average is not None:
        averaging.follow(models.average, models.policy, config.ema or 0.0)
    values = state_values(models.value, few.answers.ids, mask)
    value_loss = losses.value_loss(values, few.values, returns, mask, config.value_clip_range)
    value_loss.backward()
    models.value_optimizer.update(config.value_learning_rate * warm)
    with torch.no_grad():
        ratio = torch.exp(logps - few.logps)
        return {
            "policy_loss": policy_loss.item(),
            "value_loss": value_loss.item(),
            "entropy": losses.masked_mean(entropy, mask).item(),
            "clipped": losses.masked_mean((abs(ratio - 1) > config.clip_range).float(), mask).item(),
            "approximate_kl": losses.masked_mean(0.5 * (logps - few.logps) ** 2, mask).item(),
            "gradient_norm": norm,
        }


def check_first_round(models: Models, seen: Trajectory, rewards: torch.Tensor) -> None:
    """Raise ModelError, naming the usual cause, where the first round breaks what must hold before any learning.

    The policy is still the reference, so the KL is 0; the ratio of a fresh forward to the recorded one is 1; every answer has an action,
    its reward sits on its last action and, where it ended, that action is the end-of-turn token.
    """
    answers, mask = seen.answers, seen.answers.mask
    with torch.no_grad():
        fresh, _ = action_logps_and_entropy(models.policy, answers)
    alone, last = torch.zeros_like(rewards), losses.last_action(mask)
    off = (fresh - seen.logps).abs().max().item()
    broken = [
        (
            off > 1e-3,
            f"the ratio to the recorded policy is not 1 (log-ratio {off:.2g})",
            "dropout is on, or position ids differ",
        ),
        (
            seen.kl.abs().max().item() > 1e-2,
            f"the KL to the reference is not 0 (up to {seen.kl.abs().max().item():.2g} nats)",
            "the reference is another model than the policy's start, or a mask is shifted",
        ),
        (bool((mask.sum(dim=1) == 0).any()), "an answer has no token", "the engine returned an empty completion"),
        (
            bool(_wrong_ends(models, answers)),
            "an ended answer's last action is not the end-of-turn token",
            "the mask leaves the end token out",
        ),
        (
            not torch.allclose(rewards, alone.scatter(1, last[:, None], seen.scores[:, None]), atol=1e-2),
            "the score does not lie on each answer's last action alone",
            "the reward index is off by one",
        ),
    ]
    for bad, what, cause in broken:
        if bad:
            raise ModelError(f"PPO's first round is wired wrong: {what}; the usual cause: {cause}")


def _wrong_ends(models: Models, answers: Answers) -> bool:
    last = answers.ids.gather(1, losses.last_action(answers.mask)[:, None])[:, 0]
    return any(
        ended and token not in models.engine.ends
        for ended, token in zip(answers.ended.tolist(), last.tolist(), strict=True)
    )


def adapted(beta: float, kl: float, config: Config) -> float:
    """Return the KL coefficient of the next round: beta itself, or moved towards `kl_target` as in Ziegler et al. (arXiv 1909.08593) section 2.2."""
    if config.kl_target is None:
        return beta
    error = max(-0.2, min(0.2, kl / config.kl_target - 1))
    return beta * (1 + 0.1 * error)


def _summary(seen: Trajectory, beta: float) -> loop.Metrics:
    return {
        "score": seen.scores.mean().item(),
        "kl": seen.kl.mean().item(),
        "beta": beta,
        "tokens": seen.answers.lengths.float().mean().item(),
        "ended": seen.answers.ended.mean().item(),
    }


def _models(start: base.Base, reward: base.Base, config: Config) -> Models:
    policy, value = start.model.eval(), copy.deepcopy(reward.model).eval()
    reference = copy.deepcopy(policy).requires_grad_(False)
    average = averaging.started(policy) if config.ema is not None else None
    scorer = Scorer(reward.model.requires_grad_(False), reward.tokenizer, float(reward.meta.get("shift", 0.0)))
    betas = (0.9, 0.95)
    return Models(
        policy,
        reference,
        value,
        scorer,
        Engine(policy, start.tokenizer, max_batch=config.batch_size),
        Optimizer([policy], 0.0, config.clip, betas, eps=1e-5),
        Optimizer([value], 0.0, config.clip, betas, eps=1e-5),
        average,
    )


def _prompt_ids(tokenizer: Any, context: int, prompts: list[list[formats.Row]], config: Config) -> list[list[int]]:
    found = []
    for index, messages in enumerate(prompts):
        ids = encode.render(tokenizer, messages, prompt=True)
        if len(ids) + config.max_tokens > context:
            raise UsageError(
                f"{formats.place(config.prompts, index)}: the prompt is {len(ids)} tokens long and an answer may take "
                f"{config.max_tokens}, more than the models' context of {context}; shorten the prompt or lower max_tokens"
            )
        found.append(ids)
    return found


def _batch(prompts: Sequence[list[int]], config: Config, i: int) -> tuple[list[list[int]], int, list[int]]:
    """Return round i's prompts (every prompt comes once before any comes twice), the answer limit, and a seed for each."""
    chosen = []
    for number in range(i * config.batch_size, (i + 1) * config.batch_size):
        turn, place = divmod(number, len(prompts))
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + turn)
        order = torch.randperm(len(prompts), generator=generator).tolist()
        chosen.append(prompts[order[place]])
    seeds = [config.seed * 2**32 + i * config.batch_size + number for number in range(config.batch_size)]
    return chosen, config.max_tokens, seeds


def _minibatches(config: Config, i: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + i + 1)
    orders = [torch.randperm(config.batch_size, generator=generator) for _ in range(config.epochs)]
    return [places for order in orders for places in order.split(config.minibatch_size)]


def _warmup(i: int, iterations: int) -> float:
    """Return the share of the peak rate in round i: from a tenth to 1 over the first rounds (InstructGPT C.4)."""
    return 1.0 if i >= iterations else 0.1 + 0.9 * i / iterations


def _ptx(config: Config, tokenizer: Any, context: int) -> Callable[[int, Any], torch.Tensor] | None:
    """Return what gives the mixed-in loss of a minibatch, by its number and the policy; None where nothing is mixed in.

    A file of text is InstructGPT's pretraining mix. A file of chat rows is the same for a model that was only ever taught by
    demonstrations: what it was shown is what PPO must not make it forget.
    """
    if config.ptx is None:
        return None
    if config.ptx.endswith((".jsonl", ".jsonl.gz")):
        shown = encode.examples(tokenizer, formats.read_chat(config.ptx), config.ptx, context)
        return lambda number, policy: demonstration_loss(
            policy, [shown[i] for i in _places(len(shown), config, number)]
        )
    window = min(PTX_WINDOW, context)
    stream = pretrain.token_stream(pretrain.documents(config.ptx), tokenizer)
    if len(stream) <= window:
        raise UsageError(f"{config.ptx} holds {len(stream)} tokens; the pretraining mix needs more than {window}")
    seed = config.seed * 1_000_003
    return lambda number, policy: pretrain.next_token_loss(
        policy, pretrain.windows(stream, config.minibatch_size, window, seed + number)
    )


def _places(rows: int, config: Config, number: int) -> list[int]:
    """Return which rows a minibatch mixes in: as many as it has answers, drawn afresh for each."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
    return torch.randint(rows, (config.minibatch_size,), generator=generator).tolist()
