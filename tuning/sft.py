"""Supervised fine-tuning, InstructGPT's first step: the likelihood of the assistant's tokens, given everything before them.

model = sft.train(sft.Config(model="starter", data="train.jsonl", suffix="hobanne"))    # model.name == "ft:starter:local:hobanne:…"
"""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from chains.errors import UsageError
from chains.models import registry
from tuning import base, demonstrations, devices, encode, frozen, loop, losses, packing, placement, pretrain, sharded
from tuning.compute import Compute
from tuning.configs import SFTConfig as Config
from tuning.configs import check
from tuning.data import rates
from tuning.forward import chosen_logits, chosen_tokens
from tuning.optimizer import Optimizer, cosine
from tuning.watch import Watch

__all__ = ["Config", "train"]


def train(
    config: Config, report: loop.Report = loop.silent, name: str | None = None, at_epoch: loop.Look | None = None
) -> registry.Entry:
    """Fine-tune `config.model` on the demonstrations in `config.data`, register the new model and return its entry.

    `name` is the new model's (None: a fresh one); `at_epoch` sees the model, and its adapter where it trains one, after each pass but
    the last one. Raises UsageError on a bad row, naming file and line, before anything is trained.
    """
    check(config)
    _check_together(config)
    run = base.begin("sft", config, [name for name in (config.model, config.reward_model) if name])
    sharded.check({name: getattr(config, name) for name in ("lora_rank", "reward_model", "samples")})
    name = name or registry.new_name(config.model, config.suffix)
    shown = demonstrations.read(config.data)
    held = demonstrations.read(config.validation) if config.validation else demonstrations.Demonstrations([], [])
    device = placement.place(config.device)
    start = (
        frozen.load(config, device)
        if config.lora_rank
        else base.load(config.model, dropout=config.dropout, device=device)
    )
    train_set = encode.examples(start.tokenizer, shown.rows, config.data, start.context, shown.places)
    places = [*shown.places, *_mix_in(config, train_set, start)]
    valid_set = encode.examples(start.tokenizer, held.rows, str(config.validation), start.context, held.places)
    model = start.model
    compute = Compute(model, config.dtype, config.packing, config.gradient_checkpointing)
    optimizer = Optimizer([model], config.weight_decay, config.clip)
    epoch = math.ceil(len(train_set) / config.batch_size)
    steps = max(1, math.ceil(config.epochs * epoch))
    batches = list(encode.epochs([len(e.ids) for e in train_set], config.batch_size, config.seed, steps))
    state = loop.State({"model": frozen.trained(model)}, {"model": optimizer})
    loss = (lambda: mean_loss(model, valid_set)) if valid_set else None
    watch = Watch(config, model, start.tokenizer, held.rows, loss, state, run)
    seen = 0

    def step(i: int) -> loop.Metrics:
        nonlocal seen
        batch = [train_set[place] for place in batches[i]]
        seen += sum(len(e.ids) for e in batch)
        loss = learn(compute, batch, config.accumulate)
        rate = cosine(i, steps, config.learning_rate, config.warmup, config.final_rate)
        metrics = {"loss": loss, "gradient_norm": optimizer.update(rate), "learning_rate": rate}
        if (i + 1) % epoch == 0 or i + 1 == steps:
            metrics |= watch.look(i + 1)
            if at_epoch and i + 1 < steps:
                at_epoch(i + 1, model, start.tokenizer, metrics)
        return metrics

    def named(i: int) -> str:
        return ", ".join(places[place] for place in batches[i])

    def tell(progress: loop.Progress) -> None:
        report(replace(progress, samples=watch.samples))
        watch.samples = ()

    model.train()
    began = time.monotonic()
    history = loop.run(
        "sft",
        steps,
        step,
        state,
        run.folder,
        config.seed,
        tell,
        finished=watch.finished,
        rows=named,
        tensorboard=config.tensorboard,
    )
    if devices.leads():
        rates.record(
            "sft", seen, time.monotonic() - began
        )  # by which `data check` says how long a training will take here
    facts = watch.published()
    return base.publish(
        run,
        name,
        frozen.whole(model, config.model, config.lora_rank, config.lora_alpha),
        start.tokenizer,
        history,
        **facts,
    )


def _mix_in(config: Config, demonstrations: list[encode.Example], start: base.Base) -> list[str]:
    """Add windows of the pretraining text to the demonstrations, so many that they are their share of the rows; return a place for each."""
    if config.pretraining is None:
        return []
    count = round(len(demonstrations) * config.pretraining_share / (1 - config.pretraining_share))
    demonstrations += pretrain.examples(config.pretraining, start.tokenizer, start.context, max(1, count), config.seed)
    return [f"{config.pretraining} (window {number})" for number in range(1, max(1, count) + 1)]


def _check_together(config: Config) -> None:
    """Raise UsageError on the first option that does nothing without another one that is missing."""
    needs = [
        (
            config.quantize and not config.lora_rank,
            "quantize freezes the weights, so that nothing trains",
            "lora_rank=8",
        ),
        (
            config.publish == "validation" and not config.validation,
            "publish='validation' has nothing to measure",
            "validation=FILE",
        ),
        (
            config.publish == "reward" and not config.reward_model,
            "publish='reward' has nothing to measure",
            "reward_model=NAME",
        ),
        (
            bool(config.reward_model) and not config.validation,
            "reward_model has no prompts to score answers to",
            "validation=FILE",
        ),
        (bool(config.patience) and not config.validation, "patience has nothing to measure", "validation=FILE"),
        (
            bool(config.samples) and not config.validation,
            "samples has no prompts to show answers to",
            "validation=FILE",
        ),
    ]
    for missing, what, give in needs:
        if missing:
            raise UsageError(f"{what}; give {give} with it")


def learn(compute: Compute, batch: Sequence[encode.Example], parts: int = 1) -> float:
    """Leave the gradients of the batch's loss on the weights and return it: the mean over all its learned tokens, in however many parts.

    Of several processes each has the gradients of its own rows' share.
    """
    own, total = devices.part(list(batch)), _learned(batch)
    size = max(1, math.ceil(len(own) / parts))
    whole = 0.0
    with compute.working() as model:
        pieces = [own[first : first + size] for first in range(0, len(own), size)]
        for part, counts in devices.rounds(pieces, list(batch[:1])):
            objective = partial(packed_loss if compute.packed else demonstration_loss, model, part)
            loss = sharded.within(model, objective) * (counts * _learned(part) / total)
            loss.backward()
            whole += loss.item()
    return devices.total([whole])[0]


def _learned(batch: Sequence[encode.Example]) -> int:
    return sum(sum(e.learned[1:]) for e in batch)


def packed_loss(model: Any, batch: Sequence[encode.Example]) -> torch.Tensor:
    """Return what `demonstration_loss` does, from the rows end to end; `model` attends to packs."""
    pack = packing.rows([e.ids for e in batch])
    learned = torch.tensor([[mark for e in batch for mark in (0, *e.learned[1:])]])  # (1, N)
    logits = chosen_logits(model, pack.ids, learned, **packing.arguments(pack))
    return losses.token_loss(logits, placement.moved(chosen_tokens(pack.ids, learned), logits.device))


def demonstration_loss(model: Any, batch: Sequence[encode.Example]) -> torch.Tensor:
    """Return the mean loss in nats over all the assistant's tokens of the batch together."""
    ids, learned = encode.pad([e.ids for e in batch]), encode.pad([e.learned for e in batch])  # (B, T)
    logits = chosen_logits(model, ids, learned)
    return losses.token_loss(logits, placement.moved(chosen_tokens(ids, learned), logits.device))


def mean_loss(model: Any, examples: list[encode.Example], batch_size: int = 32) -> float:
    """Return the mean loss in nats a token over all of `examples`, without dropout."""
    training = model.training
    model.eval()
    total, count = 0.0, 0
    with torch.inference_mode():
        for first in range(0, len(examples), batch_size):
            batch = examples[first : first + batch_size]
            tokens = sum(sum(e.learned[1:]) for e in batch)
            total += sharded.within(model, partial(demonstration_loss, model, batch)).item() * tokens
            count += tokens
    model.train(training)
    return total / count
