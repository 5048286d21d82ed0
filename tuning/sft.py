"""Supervised fine-tuning, InstructGPT's first step: the likelihood of the assistant's tokens, given everything before them.

model = sft.train(sft.Config(model="starter", data="train.jsonl", suffix="hobanne"))    # model.name == "ft:starter:local:hobanne:…"
"""

import math
import time
from collections.abc import Callable
from typing import Any

import torch

from chains.models import registry
from tuning import base, encode, formats, loop, losses
from tuning.configs import SFTConfig as Config
from tuning.configs import check
from tuning.data import rates
from tuning.forward import chosen_logits, chosen_tokens
from tuning.optimizer import Optimizer, cosine

__all__ = ["Config", "train"]

AtEpoch = Callable[[int, Any, Any, loop.Metrics], None]
"""Called with the steps done, the model, its tokenizer and the last step's metrics. A run that is taken up again may call it once more."""


def train(
    config: Config, report: loop.Report = loop.silent, name: str | None = None, at_epoch: AtEpoch | None = None
) -> registry.Entry:
    """Fine-tune `config.model` on the demonstrations in `config.data`, register the new model and return its entry.

    `name` is the new model's (None: a fresh one); `at_epoch` sees the model after each pass but the last one. Raises UsageError on a bad row, naming file and line, before anything is trained.
    """
    check(config)
    run = base.begin("sft", config, [config.model])
    name = name or registry.new_name(config.model, config.suffix)
    rows = formats.read_chat(config.data)
    held = formats.read_chat(config.validation) if config.validation else []
    start = base.load(config.model, dropout=config.dropout)
    train_set = encode.examples(start.tokenizer, rows, config.data, start.context)
    valid_set = encode.examples(start.tokenizer, held, str(config.validation), start.context)
    model = start.model
    optimizer = Optimizer([model], config.weight_decay, config.clip)
    steps = max(1, math.ceil(config.epochs * math.ceil(len(train_set) / config.batch_size)))
    batches = list(encode.epochs([len(e.ids) for e in train_set], config.batch_size, config.seed, steps))

    seen = 0

    def step(i: int) -> loop.Metrics:
        nonlocal seen
        seen += sum(len(train_set[place].ids) for place in batches[i])
        loss = demonstration_loss(model, [train_set[place] for place in batches[i]])
        loss.backward()
        rate = cosine(i, steps, config.learning_rate, config.warmup, config.final_rate)
        metrics = {"loss": loss.item(), "gradient_norm": optimizer.update(rate), "learning_rate": rate}
        if valid_set and (i + 1) % math.ceil(len(train_set) / config.batch_size) == 0:
            metrics["validation_loss"] = mean_loss(model, valid_set)
        if at_epoch and i + 1 < steps and (i + 1) % math.ceil(len(train_set) / config.batch_size) == 0:
            at_epoch(i + 1, model, start.tokenizer, metrics)
        return metrics

    model.train()
    state = loop.State({"model": model}, {"model": optimizer})
    began = time.monotonic()
    history = loop.run("sft", steps, step, state, run.folder, config.seed, report)
    rates.record("sft", seen, time.monotonic() - began)  # by which `data check` says how long a training will take here
    return base.publish(run, name, model, start.tokenizer, history)


def demonstration_loss(model: Any, batch: list[encode.Example]) -> torch.Tensor:
    """Return the mean loss in nats over all the assistant's tokens of the batch together."""
    ids, learned = encode.pad([e.ids for e in batch]), encode.pad([e.learned for e in batch])  # (B, T)
    return losses.token_loss(chosen_logits(model, ids, learned), chosen_tokens(ids, learned))


def mean_loss(model: Any, examples: list[encode.Example], batch_size: int = 32) -> float:
    """Return the mean loss in nats a token over all of `examples`, without dropout."""
    training = model.training
    model.eval()
    total, count = 0.0, 0
    with torch.inference_mode():
        for first in range(0, len(examples), batch_size):
            batch = examples[first : first + batch_size]
            tokens = sum(sum(e.learned[1:]) for e in batch)
            total += demonstration_loss(model, batch).item() * tokens
            count += tokens
    model.train(training)
    return total / count
