"""A small GPT from nothing: next-token prediction on plain text (Radford et al. 2018, Eq. 1), GPT-2's layout, GPT-3's optimiser settings.

pretrain.train(pretrain.Config(text="corpus.txt", name="starter"))
"""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from chains.errors import UsageError
from chains.models import linear, registry
from tuning import base, devices, encode, loop, losses, placement, sharded, tokenizer
from tuning.configs import PretrainConfig as Config
from tuning.configs import check
from tuning.optimizer import Optimizer, cosine

__all__ = ["Config", "train"]

WINDOW = 128
"""Tokens of an example that is mixed into another stage, where the model's context is not shorter."""


def train(config: Config, report: loop.Report = loop.silent) -> registry.Entry:
    """Learn a tokenizer and a model from `config.text`, register the model as `config.name`, replacing one of that name, and return its entry.

    Raises UsageError where the text is too short for one sequence or the sizes do not fit each other.
    """
    check(config)
    _check_sizes(config)
    registry.folder(config.name)
    run = base.begin("pretrain", config)
    texts = documents(config.text)
    words = tokenizer.train(texts, config.vocab_size, config.context)
    stream = token_stream(texts, words)
    if len(stream) <= config.sequence:
        raise UsageError(
            f"{config.text} holds {len(stream)} tokens, fewer than one sequence of {config.sequence}; add text"
        )
    model = new_model(config, words).to(placement.place(config.device))
    sharded.spread(model)
    optimizer = Optimizer([model], config.weight_decay, config.clip)

    def step(i: int) -> loop.Metrics:
        ids = windows(stream, config.batch_size, config.sequence, config.seed * 1_000_003 + i)
        loss = learn(model, ids)
        rate = cosine(i, config.steps, config.learning_rate, config.warmup, 0.1)
        return {"loss": loss, "gradient_norm": optimizer.update(rate), "learning_rate": rate}

    model.train()
    state = loop.State({"model": model}, {"model": optimizer})
    history = loop.run(
        "pretrain", config.steps, step, state, run.folder, config.seed, report, tensorboard=config.tensorboard
    )
    return base.publish(run, config.name, model, words, history, tokens=len(stream))


def documents(path: str) -> list[str]:
    """Return the documents of a text file, which empty lines part. Raises UsageError where it is not UTF-8."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8 and try again") from error
    return [part.strip() for part in text.split("\n\n") if part.strip()]


def token_stream(texts: Sequence[str], words: Any) -> torch.Tensor:
    """Return all documents' tokens one after another, the end token behind each; control tokens inside a document stay text."""
    end = words.eos_token_id
    ids = [token for text in texts for token in [*words.encode(text, split_special_tokens=True, verbose=False), end]]
    return torch.tensor(ids, dtype=torch.long)


def windows(stream: torch.Tensor, count: int, length: int, seed: int) -> torch.Tensor:
    """Return `count` random windows of `length`+1 tokens from `stream`: (B, T+1)."""
    starts = torch.randint(len(stream) - length, (count,), generator=torch.Generator().manual_seed(seed))
    return torch.stack([stream[start : start + length + 1] for start in starts.tolist()])


def examples(path: str, words: Any, context: int, count: int, seed: int) -> list[encode.Example]:
    """Return `count` windows of the text in `path`, in which every token but the first is learned. Raises UsageError where it is too short."""
    return cut(stream_of(path, words, context), min(WINDOW, context), count, seed)


def stream_of(path: str, words: Any, context: int) -> torch.Tensor:
    """Return the tokens of the text in `path`, more than a window of them. Raises UsageError where there are fewer."""
    stream, window = token_stream(documents(path), words), min(WINDOW, context)
    if len(stream) <= window:
        raise UsageError(f"{path} holds {len(stream)} tokens; the pretraining mix needs more than {window}")
    return stream


def cut(stream: torch.Tensor, window: int, count: int, seed: int) -> list[encode.Example]:
    """Return `count` random windows of the stream as examples."""
    return [encode.Example(row, [0] + [1] * (window - 1)) for row in windows(stream, count, window - 1, seed).tolist()]


def next_token_loss(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Return the mean loss in nats a token of predicting each next token of `ids` (B, T+1)."""
    ids = placement.moved(ids, placement.of(model))
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits  # (B, T, V)
    return losses.token_loss(logits.flatten(0, 1), ids[:, 1:].flatten())


def learn(model: Any, ids: torch.Tensor) -> float:
    """Leave the gradients of the windows' mean loss on the weights and return it; of several processes each has its own windows' share."""
    own, whole = devices.part(ids), 0.0
    for part, counts in devices.rounds([own] if len(own) else [], ids[:1]):
        loss = sharded.within(model, partial(next_token_loss, model, part)) * (counts * len(part) / len(ids))
        loss.backward()
        whole += loss.item()
    return devices.total([whole])[0]


def new_model(config: Config, words: Any) -> Any:
    """Return a fresh GPT-2 with normal(0, 0.02) weights, residual projections scaled by 1/sqrt(2 x layers) (Radford et al. 2019, section 2.3)."""
    from transformers import GPT2Config, GPT2LMHeadModel

    settings = GPT2Config(
        vocab_size=len(words),
        n_positions=config.context,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        initializer_range=0.02,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    with placement.random_kept():
        torch.default_generator.manual_seed(config.seed)
        model = GPT2LMHeadModel(settings)
    linear.accelerate_learning(model)
    return model


def _check_sizes(config: Config) -> None:
    if config.width % config.heads:
        raise UsageError(
            f"width={config.width} is not a multiple of heads={config.heads}; try {config.heads * math.ceil(config.width / config.heads)}"
        )
    if config.sequence > config.context:
        raise UsageError(
            f"sequence={config.sequence} is longer than context={config.context}; lower the one or raise the other"
        )
