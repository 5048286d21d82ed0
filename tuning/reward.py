"""A reward model from rankings, InstructGPT's second step: the K answers to a prompt are one element, and all their pairs count.

    rm = reward.train(reward.Config(model=sft_model.name, data="rankings.jsonl"))
    load_scorer(rm.name).score(messages, answer)

The model is the SFT model with its output head replaced by one scalar, read at the last real token. Its scores are shifted so that the
demonstrations average 0 (InstructGPT, arXiv 2203.02155, section 3.5); the shift is kept in `meta.json`.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch

from chains.errors import UsageError
from chains.models import registry
from chains.models.scorer import Scorer, read_scores, through_end
from tuning import base, encode, formats, loop, losses
from tuning.configs import RewardConfig as Config
from tuning.configs import check
from tuning.optimizer import Optimizer, cosine

__all__ = ["Config", "pairwise_accuracy", "train"]


@dataclass(frozen=True)
class Ranked:
    """One prompt's K answers as tokens, each with the prompt before it, and their ranks."""

    ids: list[list[int]]
    ranks: list[int]


def train(config: Config, report: loop.Report = loop.silent) -> registry.Entry:
    """Train a reward model on `config.data`, register it and return its entry; `metrics` hold its pair accuracy on held-out rankings.

    Raises UsageError on a bad row, naming file and line, before anything is trained.
    """
    check(config)
    run = base.begin("reward", config, [config.model])
    name = registry.new_name(config.model, config.suffix)
    rows = formats.read_rankings(config.data)
    held = formats.read_rankings(config.validation) if config.validation else []
    shown = formats.read_chat(config.demonstrations) if config.demonstrations else []
    start = base.load(config.model, dropout=config.dropout)
    model = scalar_model(start, config.seed, config.dropout)
    train_set = ranked_rows(start, rows, config.data)
    ranked_rows(start, held, str(config.validation))
    encode.examples(start.tokenizer, shown, str(config.demonstrations), start.context)
    optimizer = Optimizer([model], config.weight_decay, config.clip)
    steps = max(1, math.ceil(config.epochs * math.ceil(len(train_set) / config.batch_size)))
    batches = list(encode.epochs([max(map(len, r.ids)) for r in train_set], config.batch_size, config.seed, steps))

    def step(i: int) -> loop.Metrics:
        loss, accuracy = comparison_loss(model, [train_set[place] for place in batches[i]])
        loss.backward()
        rate = cosine(i, steps, config.learning_rate, config.warmup, config.final_rate)
        return {
            "loss": loss.item(),
            "pair_accuracy": accuracy,
            "gradient_norm": optimizer.update(rate),
            "learning_rate": rate,
        }

    model.train()
    state = loop.State({"model": model}, {"model": optimizer})
    history = loop.run("reward", steps, step, state, run.folder, config.seed, report)
    scorer = Scorer(model, start.tokenizer)
    shift = demonstration_mean(scorer, shown or [best(row) for row in rows])
    facts: dict[str, Any] = {"kind": "reward", "shift": shift}
    if held:
        facts["held_out_pair_accuracy"], facts["held_out_pairs"] = pairwise_accuracy(scorer, held)
    return base.publish(run, name, model, start.tokenizer, history, **facts)


def scalar_model(start: base.Base, seed: int, dropout: float) -> Any:
    """Return the chat model's trunk under a fresh scalar head, its weights normal(0, 1/(d+1)): Ziegler et al. (arXiv 1909.08593)'s code."""
    from transformers import AutoModelForSequenceClassification

    settings = copy.deepcopy(start.model.config)
    settings.num_labels, settings.pad_token_id = 1, start.tokenizer.pad_token_id
    with torch.random.fork_rng(devices=[]):
        model = AutoModelForSequenceClassification.from_config(settings)
    model.base_model.load_state_dict(start.model.base_model.state_dict())
    width = model.score.weight.shape[1]
    with torch.no_grad():
        model.score.weight.normal_(0, 1 / math.sqrt(width + 1), generator=torch.Generator().manual_seed(seed))
    base.set_dropout(model, dropout)
    return model.float()


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


def comparison_loss(model: Any, batch: list[Ranked]) -> tuple[torch.Tensor, float]:
    """Return the ranking loss of the batch and the share of its pairs in the right order. Every answer is computed once, whatever its pairs."""
    flat = [ids for element in batch for ids in element.ids]
    scores = read_scores(model, encode.pad(flat), torch.tensor([len(ids) for ids in flat]))
    split = list(scores.split([len(element.ids) for element in batch]))
    ranks = [torch.tensor(element.ranks) for element in batch]
    gaps = torch.cat([losses.pair_gaps(s, r) for s, r in zip(split, ranks, strict=True)])
    return losses.ranking_loss(split, ranks), (gaps > 0).float().mean().item()


def pairwise_accuracy(scorer: Scorer, rows: list[formats.Row]) -> tuple[float, int]:
    """Return the share of untied pairs that the scorer puts in the labeler's order, and the number of those pairs."""
    right, pairs = 0, 0
    for row in rows:
        prompt = row["input"]["messages"]
        scores = torch.tensor(scorer.score_many([(prompt, o["messages"][0]["content"]) for o in row["outputs"]]))
        gaps = losses.pair_gaps(scores, torch.tensor([o["rank"] for o in row["outputs"]]))
        right, pairs = right + int((gaps > 0).sum()), pairs + len(gaps)
    return (right / pairs if pairs else math.nan), pairs


def best(row: formats.Row) -> formats.Row:
    """Return a rankings row's best answer as a chat row."""
    output = min(row["outputs"], key=lambda o: o["rank"])
    return {"messages": [*row["input"]["messages"], *output["messages"]]}


def demonstration_mean(scorer: Scorer, rows: list[formats.Row]) -> float:
    """Return the scorer's mean score of the rows' last answers."""
    scores = scorer.score_many([(row["messages"][:-1], row["messages"][-1]["content"]) for row in rows])
    return sum(scores) / len(scores)
