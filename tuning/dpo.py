"""DPO: preferences learned without a reward model or samples (Rafailov et al., arXiv 2305.18290).

    model = dpo.train(dpo.Config(model=sft_model.name, data="rankings.jsonl"))

The policy is its own reward model, beta x log(pi / pi_ref), and learns by the reward model's ranking loss: with two answers to a prompt
that is Eq. 7, with K all pairs of the prompt count as in InstructGPT's Eq. 1. What the reference says never changes, so it is computed
once and the reference is not kept. Dropout is off. Shapes: B answers, T positions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from chains.errors import UsageError
from chains.models import registry
from tuning import base, devices, encode, formats, loop, losses, placement, sharded
from tuning.configs import DPOConfig as Config
from tuning.configs import check
from tuning.forward import chosen_logits, chosen_tokens, spread
from tuning.optimizer import Optimizer, cosine

__all__ = ["Config", "train"]

TOGETHER = 8
"""Prompts whose answers are measured in one forward."""


@dataclass(frozen=True)
class Ranked:
    """One prompt's K answers as tokens, their ranks, and log pi_ref of each, (K,)."""

    answers: list[encode.Example]
    ranks: torch.Tensor
    reference: torch.Tensor

    @property
    def pairs(self) -> int:
        """Return how many pairs are not tied."""
        return int((self.ranks[:, None] < self.ranks).sum())


def train(
    config: Config, report: loop.Report = loop.silent, name: str | None = None, at_epoch: loop.Look | None = None
) -> registry.Entry:
    """Improve `config.model` by the rankings in `config.data`, register the new model and return its entry.

    `name` is the new model's (None: a fresh one); `at_epoch` sees the model after each pass but the last one. Raises UsageError on a bad
    row, naming file and line, before anything is trained.
    """
    check(config)
    run = base.begin("dpo", config, [config.model])
    name = name or registry.new_name(config.model, config.suffix)
    rows = formats.read_rankings(config.data)
    held = formats.read_rankings(config.validation) if config.validation else []
    start = base.load(config.model, device=placement.place(config.device))
    model = start.model.eval()
    sharded.spread(model)
    train_set = ranked_rows(start, rows, config.data)
    valid_set = ranked_rows(start, held, str(config.validation))
    optimizer = Optimizer([model], config.weight_decay, config.clip)
    epoch = math.ceil(len(train_set) / config.batch_size)
    steps = max(1, math.ceil(config.epochs * epoch))
    lengths = [max(len(answer.ids) for answer in row.answers) for row in train_set]
    batches = list(encode.epochs(lengths, config.batch_size, config.seed, steps))

    def step(i: int) -> loop.Metrics:
        metrics = learn(model, [train_set[place] for place in batches[i]], config.beta)
        rate = cosine(i, steps, config.learning_rate, config.warmup, config.final_rate)
        metrics |= {"gradient_norm": optimizer.update(rate), "learning_rate": rate}
        if (i + 1) % epoch == 0 or i + 1 == steps:
            metrics |= {f"validation_{name}": value for name, value in measured(model, valid_set, config.beta).items()}
            if at_epoch and i + 1 < steps:
                at_epoch(i + 1, model, start.tokenizer, metrics)
        return metrics

    state = loop.State({"model": model}, {"model": optimizer})
    history = loop.run("dpo", steps, step, state, run.folder, config.seed, report, tensorboard=config.tensorboard)
    facts = {f"held_out_{name}": value for name, value in measured(model, valid_set, config.beta).items()}
    return base.publish(run, name, model, start.tokenizer, history, **facts)


def ranked_rows(start: base.Base, rows: Sequence[formats.Row], path: str) -> list[Ranked]:
    """Return the rankings in `path` with what the model, as it is now, says of each answer; an error names the row's line."""
    answers = [_examples(start, row, path, index) for index, row in enumerate(rows)]
    found = []
    for first in range(0, len(rows), TOGETHER):
        together = answers[first : first + TOGETHER]
        with torch.inference_mode():
            logps = sharded.within(
                start.model, partial(answer_logps, start.model, [answer for of_one in together for answer in of_one])
            )
        parts = logps.clone().split([len(of_one) for of_one in together])
        for row, of_one, part in zip(rows[first : first + TOGETHER], together, parts, strict=True):
            found.append(Ranked(of_one, torch.tensor([output["rank"] for output in row["outputs"]]), part))
    return found


def _examples(start: base.Base, row: formats.Row, path: str, index: int) -> list[encode.Example]:
    try:
        return [encode.example(start.tokenizer, chat, start.context) for chat in chats(row)]
    except UsageError as error:
        raise UsageError(f"{formats.place(path, index)}: {error}") from error


def chats(row: formats.Row) -> list[formats.Row]:
    """Return a rankings row's answers as chat rows in which nothing but the answer is learned."""
    prompt = [
        {**message, "weight": 0} if message["role"] == "assistant" else message for message in row["input"]["messages"]
    ]
    return [{"messages": [*prompt, *output["messages"]]} for output in row["outputs"]]


def answer_logps(model: torch.nn.Module, answers: Sequence[encode.Example]) -> torch.Tensor:
    """Return log pi(answer | prompt) in nats, summed over the answer's tokens and its end-of-turn token: (B,)."""
    ids, learned = encode.pad([a.ids for a in answers]), encode.pad([a.learned for a in answers])  # (B, T)
    logits = chosen_logits(model, ids, learned)
    logps = losses.token_logps(logits, placement.moved(chosen_tokens(ids, learned), logits.device))  # (N,)
    return spread(logps.cpu(), learned).sum(dim=1)


def learn(model: torch.nn.Module, batch: Sequence[Ranked], beta: float) -> loop.Metrics:
    """Leave the gradients of the batch's loss on the weights and return its numbers; of several processes each has its own prompts' share."""
    counting = [row for row in batch if row.pairs] or list(batch[:1])
    own, found = devices.part(counting), [0.0, 0.0, 0.0]
    for part, counts in devices.rounds([own] if own else [], counting[:1]):
        loss, metrics = preference_loss(model, part, beta)
        prompts = counts * len(part) / len(counting)
        (loss * prompts).backward()
        if counts:
            pairs = sum(row.pairs for row in part) / max(1, sum(row.pairs for row in counting))
            found = [metrics["loss"] * prompts, metrics["pair_accuracy"] * pairs, metrics["margin"] * pairs]
    return dict(zip(("loss", "pair_accuracy", "margin"), devices.total(found), strict=True))


def preference_loss(model: torch.nn.Module, batch: Sequence[Ranked], beta: float) -> tuple[torch.Tensor, loop.Metrics]:
    """Return DPO's loss of a batch, and what its implicit rewards do: the share of pairs in order, and their mean gap."""
    logps = sharded.within(model, partial(answer_logps, model, [answer for row in batch for answer in row.answers]))
    parts = logps.split([len(row.answers) for row in batch])
    rewards = losses.implicit_rewards(parts, [row.reference for row in batch], beta)
    ranks = [row.ranks for row in batch]
    gaps = torch.cat([losses.pair_gaps(r, order) for r, order in zip(rewards, ranks, strict=True)]).detach()
    loss = losses.ranking_loss(rewards, ranks)
    accuracy, margin = (gaps > 0).float().mean().item(), gaps.mean().item()
    return loss, {"loss": loss.item(), "pair_accuracy": accuracy, "margin": margin}


@torch.inference_mode()
def measured(model: torch.nn.Module, rows: Sequence[Ranked], beta: float) -> loop.Metrics:
    """Return the loss, pair accuracy and margin on rankings that were not learned from; {} where there are none."""
    if not rows:
        return {}
    parts = [
        (rows[i : i + TOGETHER], preference_loss(model, rows[i : i + TOGETHER], beta)[1])
        for i in range(0, len(rows), TOGETHER)
    ]
    return {name: sum(len(few) * found[name] for few, found in parts) / len(rows) for name in parts[0][1]}
