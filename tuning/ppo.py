"""PPO against a reward model with a KL penalty, InstructGPT's third step (arXiv 2203.02155, Eq. 2; PPO: arXiv 1707.06347).

    model = ppo.train(ppo.Config(policy=sft_model.name, reward_model=rm.name, prompts="prompts.jsonl"))

A round samples answers, scores them, and learns from them. The policy starts as the SFT model, which stays beside it as the KL reference;
the value model starts as the reward model. Dropout is off in all four.
"""

from dataclasses import dataclass, field

import torch

from chains.errors import UsageError
from chains.models import registry
from tuning import actors, averaging, base, collapse, evaluate, formats, frozen, loop, losses, placement, prompting
from tuning.actors import Actors
from tuning.clock import Clock
from tuning.configs import PPOConfig as Config
from tuning.configs import check
from tuning.invariants import check_first_round
from tuning.ptx import Mix, mix
from tuning.rollout import Answers, Trajectory, sample

__all__ = ["Config", "train"]


def train(config: Config, report: loop.Report = loop.silent) -> registry.Entry:
    """Improve `config.policy` by the reward model's word, register the new model and return its entry.

    Raises UsageError where the two models do not share a vocabulary or a prompt does not fit, before anything is sampled, and
    ModelError where the first minibatch shows that something is wired wrong.
    """
    check(config)
    run = base.begin("ppo", config, [config.policy, config.reward_model])
    name = registry.new_name(config.policy, config.suffix)
    messages = formats.read_prompts(config.prompts)
    device = placement.place(config.device)
    start, reward = base.load(config.policy, device=device), base.load(config.reward_model, "reward", device=device)
    same_vocabulary(start, reward)
    context = min(start.context, reward.context)
    prompts = prompting.prompt_ids(start.tokenizer, context, messages, config.prompts, config.max_tokens)
    made = actors.made(start, reward, config)
    training = Training(config, made, prompts, _mix(config, start))
    state = loop.State(made.modules, made.optimizers, {"beta": config.kl_coefficient})
    history = loop.run(
        "ppo",
        config.iterations,
        lambda i: training.step(i, state),
        state,
        run.folder,
        config.seed,
        report,
        tensorboard=config.tensorboard,
    )
    last = made.policy if made.average is None else made.average
    best = frozen.whole(last, config.policy, config.lora_rank, config.lora_alpha)
    return base.publish(run, name, best, start.tokenizer, history, seconds=training.clock.seconds)


@dataclass
class Training:
    """One run's models, prompts and mix; `clock` counts where its time goes."""

    config: Config
    models: Actors
    prompts: list[list[int]]
    mix: Mix | None
    clock: Clock = field(default_factory=Clock)

    def step(self, i: int, state: loop.State) -> loop.Metrics:
        """Do round i: sample, judge, reward, learn, record."""
        config, beta = self.config, state.numbers["beta"]
        answers = self.rollout(i)
        seen, now = self.judged(answers)
        mask = seen.answers.mask
        rewards = losses.penalised_rewards(seen.scores, seen.logps, seen.reference, mask, beta)
        advantages, returns = losses.gae(rewards, seen.values, mask, config.gae_lambda)
        advantages = losses.whiten(advantages, mask, losses.rounding(returns, mask, config.dtype))
        if i == 0:
            check_first_round(seen, rewards, self.models.engine.ends, config.dtype)
        places = prompting.minibatches(len(mask), config.minibatch_size, config.epochs, i, config.seed)
        rate = prompting.warmup(i, config.warmup_iterations)
        learned = []
        for number, chosen in enumerate(places):
            if now is not None and number == 0:
                learned.append(self.learn(seen, advantages, returns, i * 1000, rate, now))
                continue
            few = seen.at(chosen)
            width = few.answers.mask.shape[1]
            learned.append(
                self.learn(few, advantages[chosen, :width], returns[chosen, :width], i * 1000 + number, rate)
            )
        state.numbers["beta"] = adapted(beta, seen.kl.mean().item(), config)
        metrics = {**summary(seen), "beta": beta, **mean(learned)}
        return {**metrics, **self.watch(i, metrics, state)}

    def rollout(self, i: int) -> Answers:
        """Return round i's answers."""
        config = self.config
        asked = prompting.turn(len(self.prompts), config.batch_size, i, config.seed)
        seeds = prompting.streams(config.batch_size, i, config.seed)
        with self.clock("rollout"), self.models.answering() as engine:
            return sample(engine, [self.prompts[place] for place in asked], config.max_tokens, seeds, logps=i == 0)

    def judged(self, answers: Answers) -> tuple[Trajectory, actors.Seen | None]:
        """Return all that is known of a round's answers, and what the models say of them with gradients where the first minibatch is all of them.

        The models have not moved since then, so that this minibatch needs no forward of its own.
        """
        whole = self.config.minibatch_size >= len(answers.rows)
        with self.clock("scoring"):
            with torch.set_grad_enabled(whole):
                now = self.models.both(answers)
            return self.models.judge(answers, self.config.missing_end_penalty, now), now if whole else None

    def learn(
        self,
        few: Trajectory,
        advantages: torch.Tensor,
        returns: torch.Tensor,
        number: int,
        rate: float,
        now: actors.Seen | None = None,
    ) -> loop.Metrics:
        """Move the policy and the value one optimiser step on a minibatch, and return what happened; `now` is what they say of it, if it is known."""
        models, config, mask = self.models, self.config, few.answers.mask
        with self.clock("forward"):
            now = now or models.both(few.answers)
            policy_loss = losses.policy_loss(now.logps, few.logps, advantages, mask, config.clip_range)
            value_loss = losses.value_loss(now.values, few.values, returns, mask, config.value_clip_range)
        with self.clock("backward"):
            (policy_loss + (config.value_coefficient if models.shared else 1.0) * value_loss).backward()
            models.collect()
        metrics = {"policy_loss": policy_loss.item(), "value_loss": value_loss.item()}
        if self.mix is not None:
            with self.clock("mix"):
                metrics["ptx_loss"] = self.mix.backward(models.compute("policy"), number)
        with self.clock("optimiser"):
            metrics["gradient_norm"] = self.update(rate)
        return {**metrics, **change(now, few, config.clip_range)}

    def update(self, rate: float) -> float:
        """Apply the gradients at `rate` of the peak rates, move the average, and return the policy's gradient norm."""
        models, config = self.models, self.config
        peaks = {"policy": config.learning_rate, "value": config.value_learning_rate}
        norms = {name: optimizer.update(peaks[name] * rate) for name, optimizer in models.optimizers.items()}
        if models.average is not None and config.ema is not None:
            averaging.follow(models.average, models.policy, config.ema)
        return norms["policy"]

    def watch(self, i: int, seen: loop.Metrics, state: loop.State) -> loop.Metrics:
        """Return the best-of-n gain in the rounds that look for mode collapse, and warn once where there is one."""
        every, config = self.config.watch_every, self.config
        if not every or i % every:
            return {}
        seed = (config.seed + 1) * 2**32 - (i + 1) * 1000
        with self.clock("watch"), self.models.answering() as engine:
            found = {"best_of_n": collapse.best_of_n(engine, self.models.scorer, self.prompts, config.max_tokens, seed)}
        signs = {sign: {**seen, **found}[sign] for sign in collapse.SIGNS}
        first = state.numbers.setdefault("signs", signs)
        if not state.numbers.get("collapsed"):
            state.numbers["collapsed"] = collapse.watch(signs, first)
        return found


def same_vocabulary(start: base.Base, reward: base.Base) -> None:
    """Raise UsageError where the two models' tokens mean different texts."""
    if start.tokenizer.get_vocab() != reward.tokenizer.get_vocab():
        raise UsageError(
            f"{start.name!r} and {reward.name!r} have different vocabularies; train the reward model from the policy"
        )


def adapted(beta: float, kl: float, config: Config) -> float:
    """Return the KL coefficient of the next round: beta itself, or moved towards `kl_target` as in Ziegler et al. (arXiv 1909.08593) section 2.2."""
    if config.kl_target is None:
        return beta
    error = max(-0.2, min(0.2, kl / config.kl_target - 1))
    return beta * (1 + 0.1 * error)


def summary(seen: Trajectory) -> loop.Metrics:
    """Return what a round's answers were like."""
    return {
        "score": seen.scores.mean().item(),
        "kl": seen.kl.mean().item(),
        "tokens": seen.answers.lengths.float().mean().item(),
        "ended": seen.answers.ended.mean().item(),
        "distinct_2": evaluate.distinct(seen.answers, 2),
    }


@torch.no_grad()
def change(now: actors.Seen, few: Trajectory, clip: float) -> loop.Metrics:
    """Return how far a minibatch's policy is from the one that sampled it."""
    mask, gap = few.answers.mask, now.logps - few.logps
    return {
        "entropy": losses.masked_mean(now.entropy, mask).item(),
        "clipped": losses.masked_mean((abs(torch.exp(gap) - 1) > clip).float(), mask).item(),
        "approximate_kl": losses.masked_mean(0.5 * gap**2, mask).item(),
    }


def mean(rows: list[loop.Metrics]) -> loop.Metrics:
    """Return each number's mean over the rows."""
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}


def _mix(config: Config, start: base.Base) -> Mix | None:
    if config.ptx is None:
        return None
    size, weight = config.minibatch_size, config.ptx_coefficient
    return mix(config.ptx, start.tokenizer, start.context, size, weight, config.ptx_examples, config.seed)
