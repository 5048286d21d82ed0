"""DPO raises the right answer above the wrong one and stays a language model; its loss is the paper's, worked by hand."""

import dataclasses
import json
import math

import pytest
import torch

from chains.errors import UsageError
from chains.models import registry
from tests import tiny
from tuning import base, dpo, losses

QUESTIONS = ["yes?", "no?", "What colour is the sky?", "공은 무슨 색인가요?"]


@pytest.fixture
def config(home, tmp_path):
    tiny.starter()
    rows = [tiny.ranking(question, ["good", "bad thanks", "maybe"], [1, 3, 2]) for question in QUESTIONS]
    data = tiny.write(tmp_path / "r.jsonl", rows)
    return dpo.Config("starter", data, validation=data, epochs=8, batch_size=2, learning_rate=3e-3, seed=1)


def test_the_loss_is_equation_7_by_hand():
    """beta 0.5; the winner gained 0.6 nats on the reference and the loser lost 0.2: -log sigmoid(0.5 x 0.8)."""
    rewards = losses.implicit_rewards([torch.tensor([-3.4, -5.2])], [torch.tensor([-4.0, -5.0])], 0.5)
    torch.testing.assert_close(rewards[0], torch.tensor([0.3, -0.1]))
    loss = losses.ranking_loss(rewards, [torch.tensor([1, 2])])
    assert loss.item() == pytest.approx(math.log1p(math.exp(-0.4)), rel=1e-6)


def test_an_answers_log_probability_is_its_tokens_and_its_ends_alone(home):
    start = base.Base("tiny", tiny.model(), tiny.words(), tiny.CONTEXT, {})
    row = tiny.ranking("yes?", ["good", "bad thanks"], [1, 2])
    row["input"]["messages"] = [*tiny.chat("no?", "maybe")["messages"], *row["input"]["messages"]]
    (ranked,) = dpo.ranked_rows(start, [row], "r.jsonl")
    for answer, text, found in zip(ranked.answers, ("good", "bad thanks"), ranked.reference.tolist(), strict=True):
        spoken = [*tiny.words().encode(text), tiny.words().eos_token_id]
        assert [token for token, mark in zip(answer.ids, answer.learned, strict=True) if mark] == spoken
        logp = start.model(torch.tensor([answer.ids])).logits[0].log_softmax(-1)
        first = answer.learned.index(1)
        expected = sum(logp[t - 1, answer.ids[t]].item() for t in range(first, first + len(spoken)))
        assert found == pytest.approx(expected, abs=1e-4)


def test_the_better_answer_gains_and_the_model_says_where_it_is_from(config):
    entry = dpo.train(config)
    assert entry.name.startswith("ft:starter:local:dpo:") and entry.meta["method"] == "dpo"
    rounds = [json.loads(line) for line in (entry.path / "metrics.jsonl").read_text().splitlines()]
    assert rounds[0]["loss"] == pytest.approx(math.log(2), rel=1e-4)  # the policy is the reference still
    assert rounds[-1]["loss"] < 0.5 and rounds[-1]["margin"] > 0.5
    assert entry.meta["held_out_pair_accuracy"] == 1.0
    before, after = (base.load(name) for name in ("starter", entry.name))
    rows = [tiny.ranking("no?", ["good", "bad thanks"], [1, 2])]
    gaps = [dpo.ranked_rows(b, rows, "r")[0].reference for b in (before, after)]
    assert (gaps[1][0] - gaps[1][1]) > (gaps[0][0] - gaps[0][1]) + 1


def test_a_high_price_keeps_the_policy_near_the_reference(config):
    moved = {}
    for beta in (0.1, 5.0):
        made = base.load(dpo.train(dataclasses.replace(config, beta=beta)).name).model
        start = base.load("starter").model
        moved[beta] = sum(
            (a - b).pow(2).sum().item() for a, b in zip(made.parameters(), start.parameters(), strict=True)
        )
    assert moved[5.0] < 0.7 * moved[0.1]


def test_a_stopped_run_ends_as_one_that_was_not(config, monkeypatch):
    whole = (dpo.train(config).path / "model.safetensors").read_bytes()
    monkeypatch.setattr("tuning.loop.CHECKPOINT_S", -1.0)

    def stop(progress):
        if progress.step == 5:
            raise KeyboardInterrupt

    again = dataclasses.replace(config, suffix="again")
    with pytest.raises(KeyboardInterrupt):
        dpo.train(again, stop)
    steps = []
    entry = dpo.train(again, lambda progress: steps.append(progress.step))
    assert steps[0] == 5  # step 5 was done and not yet saved
    assert (entry.path / "model.safetensors").read_bytes() == whole
    assert [e.name for e in registry.entries()].count(entry.name) == 1


def test_an_answer_beyond_the_context_is_named_by_its_line(config, tmp_path):
    rows = [tiny.ranking("yes?", ["good", "bad"], [1, 2]), tiny.ranking("no?", ["wolf " * 40, "bad"], [1, 2])]
    long = tiny.write(tmp_path / "long.jsonl", rows)
    with pytest.raises(UsageError, match=r"long\.jsonl:2: a row is \d+ tokens long and the model's context is 96"):
        dpo.train(dataclasses.replace(config, data=long))
