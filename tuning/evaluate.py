"""What a model can do, in numbers: perplexity, exact answers, reward, KL from a reference, entropy and variety of what it says."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from chains.measures import exact
from chains.models.engine import Engine, Request, Sampling
from chains.models.scorer import Scorer
from tuning import base, encode, formats, placement, rollout, sft

Judge = Callable[[formats.Row, str], float]
"""A labeler's rule: (chat row with the reference answer, the model's answer) -> score."""


@dataclass(frozen=True)
class Quality:
    """A model's numbers on a set of questions."""

    questions: int
    exact: float
    """Share of greedy answers that equal the reference, letter case, spacing and final punctuation aside."""
    sampled_exact: float
    """The same share of answers sampled at temperature 1."""
    judged: float
    """The labeler's rule, mean over the sampled answers."""
    reward: float
    """The reward model's score, mean over the sampled answers."""
    kl: float
    """Nats per sampled answer from the reference model: the mean of log(pi / pi_ref)."""
    entropy: float
    """Nats per sampled token, of the distribution it was drawn from."""
    distinct_2: float
    """Share of different ones among the sampled answers' token pairs (Li et al., arXiv 1510.03055)."""


def perplexity(model_name: str, path: str) -> float:
    """Return exp of the mean loss a token over the assistant's tokens of a chat JSONL file."""
    start = base.load(model_name, device=placement.place(None))
    examples = encode.examples(start.tokenizer, formats.read_chat(path), path, start.context)
    return math.exp(sft.mean_loss(start.model.eval(), examples))


def greedy_answers(engine: Engine, rows: Sequence[formats.Row], max_tokens: int) -> list[str]:
    """Return the model's likeliest answer to each row's prompt."""
    prompts = [encode.render(engine.tokenizer, row["messages"][:-1], prompt=True) for row in rows]
    done = engine.generate([Request(tuple(ids), Sampling(max_tokens=max_tokens, temperature=0)) for ids in prompts])
    return [completion.text for completion in done]


def exact_share(answers: Sequence[str], rows: Sequence[formats.Row], clean: Callable[[str], str] = str) -> float:
    """Return the share of answers that equal their row's, both passed through `clean`."""
    right = [exact(clean(a), clean(row["messages"][-1]["content"])) for a, row in zip(answers, rows, strict=True)]
    return sum(right) / len(right)


@torch.no_grad()
def quality(
    model: Any,
    reference: Any,
    scorer: Scorer,
    rows: Sequence[formats.Row],
    judge: Judge,
    max_tokens: int,
    seed: int,
    samples: int = 2,
    clean: Callable[[str], str] = str,
) -> Quality:
    """Return the model's Quality on `rows`, from one greedy answer and `samples` sampled ones to each."""
    engine = Engine(model.eval(), scorer.tokenizer)
    greedy = greedy_answers(engine, rows, max_tokens)
    asked = [row for row in rows for _ in range(samples)]
    prompts = [encode.render(engine.tokenizer, row["messages"][:-1], prompt=True) for row in asked]
    drawn = rollout.sample(engine, prompts, max_tokens, [seed * 2**32 + i for i in range(len(asked))])
    kl, entropy = 0.0, 0.0
    for places in torch.arange(len(asked)).split(64):
        few = drawn.at(places)
        logps, spread = rollout.action_logps_and_entropy(model, few)
        kl += (logps - rollout.action_logps(reference, few)).sum().item()
        entropy += spread.sum().item()
    return Quality(
        questions=len(rows),
        exact=exact_share(greedy, rows, clean),
        sampled_exact=exact_share(drawn.texts, asked, clean),
        judged=sum(map(judge, asked, drawn.texts)) / len(asked),
        reward=sum(scorer.score_ids(drawn.rows)) / len(asked),
        kl=kl / len(asked),
        entropy=entropy / drawn.mask.sum().item(),
        distinct_2=distinct(drawn, 2),
    )


def distinct(answers: rollout.Answers, n: int) -> float:
    """Return the share of different n-grams among all n-grams of tokens that were sampled."""
    grams = [
        tuple(said[i : i + n])
        for said in (ids[mask.bool()].tolist() for ids, mask in zip(answers.ids, answers.mask, strict=True))
        for i in range(len(said) - n + 1)
    ]
    return len(set(grams)) / len(grams) if grams else 0.0
