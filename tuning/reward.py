"""A reward model from rankings, InstructGPT's second step: the K answers to a prompt are one element, and all their pairs count.

    rm = reward.train(reward.Config(model=sft_model.name, data="rankings.jsonl"))
    load_scorer(rm.name).score(messages, answer)

The model is the SFT model with its output head replaced by one scalar, read at the last real token. Its scores are shifted so that the
demonstrations average 0 (InstructGPT, arXiv 2203.02155, section 3.5); the shift is kept in `meta.json`.
"""

import copy
import math
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any

import torch

from chains.errors import UsageError
from chains.models import linear, registry
from chains.models.scorer import Scorer, read_scores, through_end
from tuning import agreement, base, devices, encode, formats, loop, losses, packing, placement, sharded
from tuning.compute import Compute
from tuning.configs import RewardConfig as Config
from tuning.configs import check
from tuning.forward import hidden_at
from tuning.optimizer import Optimizer, cosine

__all__ = ["Config", "pairwise_accuracy", "train"]

PART = 2048
"""Tokens that are computed together: enough for a CPU's or a small GPU's products to be at their best."""


@dataclass(frozen=True)
class Ranked:
    """One prompt's K answers as tokens, each with the prompt before it, and their ranks."""

    ids: list[list[int]]
    ranks: list[int]

    @property
    def pairs(self) -> int:
        """Return how many pairs are not tied."""
        return sum(a < b for a in self.ranks for b in self.ranks)

    def branches(self) -> tuple[list[int], list[list[int]]]:
        """Return the tokens that all answers begin with, but for each one's last, and what follows them in each."""
        alike = (len(set(tokens)) == 1 for tokens in zip(*(ids[:-1] for ids in self.ids), strict=False))
        shared = sum(1 for _ in takewhile(bool, alike))
        return self.ids[0][:shared], [ids[shared:] for ids in self.ids]


def train(config: Config, report: loop.Report = loop.silent) -> registry.Entry:
    """Train a reward model on `config.data`, register it and return its entry; `metrics` hold its pair accuracy on held-out rankings.

    Raises UsageError on a bad row, naming file and line, before anything is trained.
    """
    check(config)
    run = base.begin("reward", config, [config.model])
    sharded.check({"dtype='bfloat16'": config.dtype == "bfloat16"})  # the head's float32 is a part of no bfloat16 group
    name = registry.new_name(config.model, config.suffix)
    rows = formats.read_rankings(config.data)
    held = formats.read_rankings(config.validation) if config.validation else []
    shown = formats.read_chat(config.demonstrations) if config.demonstrations else []
    device = placement.place(config.device)
    start = base.load(config.model, dropout=config.dropout)
    model = scalar_model(start, config.seed, config.dropout).to(device)
    train_set = ranked_rows(start, rows, config.data)
    ranked_rows(start, held, str(config.validation))
    encode.examples(start.tokenizer, shown, str(config.demonstrations), start.context)
    compute = Compute(model, config.dtype, config.packing, config.gradient_checkpointing)
    optimizer = Optimizer([model], config.weight_decay, config.clip)
    steps = max(1, math.ceil(config.epochs * math.ceil(len(train_set) / config.batch_size)))
    batches = list(encode.epochs([max(map(len, r.ids)) for r in train_set], config.batch_size, config.seed, steps))

    def step(i: int) -> loop.Metrics:
        loss, accuracy = learn(compute, [train_set[place] for place in batches[i]])
        rate = cosine(i, steps, config.learning_rate, config.warmup, config.final_rate)
        return {
            "loss": loss,
            "pair_accuracy": accuracy,
            "gradient_norm": optimizer.update(rate),
            "learning_rate": rate,
        }

    model.train()
    state = loop.State({"model": model}, {"model": optimizer})

    def named(i: int) -> str:
        return ", ".join(formats.place(config.data, place) for place in batches[i])

    history = loop.run(
        "reward", steps, step, state, run.folder, config.seed, report, rows=named, tensorboard=config.tensorboard
    )
    scorer = Scorer(model, start.tokenizer)
    shift = sharded.within(model, lambda: demonstration_mean(scorer, shown or [best(row) for row in rows]))
    facts: dict[str, Any] = {"kind": "reward", "shift": shift}
    if held:
        facts |= agreement.measure(*sharded.within(model, lambda: scored(scorer, held))).facts()
    return base.publish(run, name, model, start.tokenizer, history, **facts)


def scalar_model(start: base.Base, seed: int, dropout: float) -> Any:
    """Return the chat model's trunk under a fresh scalar head, its weights normal(0, 1/(d+1)): Ziegler et al. (arXiv 1909.08593)'s code."""
    from transformers import AutoModelForSequenceClassification

    settings = copy.deepcopy(start.model.config)
    settings.num_labels, settings.pad_token_id = 1, start.tokenizer.pad_token_id
    with placement.random_kept():
        model = AutoModelForSequenceClassification.from_config(settings)
    model.base_model.load_state_dict(start.model.base_model.state_dict())
    width = model.score.weight.shape[1]
    with torch.no_grad():
        model.score.weight.normal_(0, 1 / math.sqrt(width + 1), generator=torch.Generator().manual_seed(seed))
    base.set_dropout(model, dropout)
    linear.accelerate_learning(model.float())
    return model


def ranked_rows(start: base.Base, rows: list[formats.Row], path: str) -> list[Ranked]:
    """Return the rankings in `path` as tokens. Raises UsageError, naming the line, where a conversation exceeds the context."""
    found = []
    for index, row in enumerate(rows):
        element = ranked(start.tokenizer, row)
        longest = max(map(len, element.ids))
        if longest > start.context:
            raise UsageError(
                f"{formats.place(path, index)}: an answer with its prompt is {longest} tokens long and the model's context "
                f"is {start.context}; shorten it"
            )
        found.append(element)
    return found


def ranked(tokenizer: Any, row: formats.Row) -> Ranked:
    """Return a rankings row as tokens: each answer's conversation up to its end-of-turn token, where it is scored."""
    turns = [[*row["input"]["messages"], *output["messages"]] for output in row["outputs"]]
    ids = [through_end(tokenizer, encode.render(tokenizer, messages, prompt=False)) for messages in turns]
    return Ranked(ids, [output["rank"] for output in row["outputs"]])


def learn(compute: Compute, batch: list[Ranked]) -> tuple[float, float]:
    """Leave the gradients of the batch's ranking loss on the weights; return it and the share of the pairs in the right order.

    Prompts are computed some at a time, so that memory does not grow with the batch: each prompt's mean over its pairs stands for itself.
    Of several processes each has the gradients of its own prompts.
    """
    counting = [element for element in batch if len(set(element.ranks)) > 1] or batch[:1]
    own = devices.part(counting)
    parts = _parts(own) if compute.packed or not own else [own]
    loss, accuracy = 0.0, 0.0
    pairs = sum(element.pairs for element in counting)
    compare = shared_comparison if compute.packed else comparison_loss
    with compute.working() as model:
        for part, counts in devices.rounds(parts, counting[:1]):
            part_loss, right = sharded.within(model, partial(compare, model, part))
            part_loss = part_loss * (counts * len(part) / len(counting))
            part_loss.backward()
            share = counts * sum(e.pairs for e in part) / max(1, pairs)
            loss, accuracy = loss + part_loss.item(), accuracy + (right * share if share else 0.0)
    loss, accuracy = devices.total([loss, accuracy])
    return loss, accuracy


def _parts(batch: list[Ranked]) -> list[list[Ranked]]:
    """Return the batch in parts of at most PART tokens, or of one prompt."""
    parts: list[list[Ranked]] = []
    room = 0
    for element in batch:
        size = sum(map(len, element.ids))
        if not parts or size > room:
            parts, room = [*parts, []], PART
        parts[-1].append(element)
        room -= size
    return parts


def comparison_loss(model: Any, batch: list[Ranked]) -> tuple[torch.Tensor, float]:
    """Return the ranking loss of the batch and the share of its pairs in the right order. Every answer is computed once, whatever its pairs."""
    return comparison(separate_scores(model, batch), batch)


def shared_comparison(model: Any, batch: list[Ranked]) -> tuple[torch.Tensor, float]:
    """Return what `comparison_loss` does, with what the answers to a prompt begin with computed once; `model` attends to packs."""
    return comparison(shared_scores(model, batch), batch)


def comparison(scores: torch.Tensor, batch: list[Ranked]) -> tuple[torch.Tensor, float]:
    """Return the ranking loss of all answers' `scores`, prompt after prompt, and the share of the pairs in the right order."""
    split = list(scores.split([len(element.ids) for element in batch]))
    ranks = [torch.tensor(element.ranks) for element in batch]
    gaps = torch.cat([losses.pair_gaps(s, r) for s, r in zip(split, ranks, strict=True)])
    return losses.ranking_loss(split, ranks), (gaps > 0).float().mean().item()


def separate_scores(model: Any, batch: list[Ranked]) -> torch.Tensor:
    """Return every answer's score, prompt after prompt, from rows that are padded."""
    flat = [ids for element in batch for ids in element.ids]
    ids, lengths = encode.pad(flat), torch.tensor([len(ids) for ids in flat])
    device = placement.of(model)
    return read_scores(model, placement.moved(ids, device), placement.moved(lengths, device)).cpu()


def shared_scores(model: Any, batch: list[Ranked]) -> torch.Tensor:
    """Return what `separate_scores` does; what the answers to a prompt begin with is computed once. `model` attends to packs."""
    pack = packing.branches([element.branches() for element in batch])
    last = hidden_at(model.base_model, pack.leaves, **packing.arguments(pack))  # (B, D)
    return model.score(last)[:, 0].float().cpu()


def pairwise_accuracy(scorer: Scorer, rows: list[formats.Row]) -> tuple[float, int]:
    """Return the share of untied pairs that the scorer puts in the labeler's order, and the number of those pairs."""
    found = agreement.measure(*scored(scorer, rows))
    return found.accuracy, found.pairs


def scored(scorer: Scorer, rows: list[formats.Row]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return each row's scores (K,) and ranks (K,)."""
    asked = [(row["input"]["messages"], o["messages"][0]["content"]) for row in rows for o in row["outputs"]]
    scores = torch.tensor(scorer.score_many(asked)).split([len(row["outputs"]) for row in rows])
    return list(scores), [torch.tensor([o["rank"] for o in row["outputs"]]) for row in rows]


def best(row: formats.Row) -> formats.Row:
    """Return a rankings row's best answer as a chat row."""
    output = min(row["outputs"], key=lambda o: o["rank"])
    return {"messages": [*row["input"]["messages"], *output["messages"]]}


def demonstration_mean(scorer: Scorer, rows: list[formats.Row]) -> float:
    """Return the scorer's mean score of the rows' last answers."""
    scores = scorer.score_many([(row["messages"][:-1], row["messages"][-1]["content"]) for row in rows])
    return sum(scores) / len(scores)
