"""Demonstrations are learned, and the new model says where it came from."""

import hashlib
import os
import signal
from pathlib import Path

import pytest
import torch

from chains.errors import ModelError, UsageError
from chains.home import home
from chains.models import registry
from tests import tiny
from tuning import base, encode, sft

ROWS = [
    tiny.chat("What colour is the sky?", "The sky is blue."),
    tiny.chat("What colour is the grass?", "The grass is green."),
    tiny.chat("몇 명이 뛰나요?", "여섯 명이 뛰어요."),
    tiny.chat("공은 무슨 색인가요?", "공은 빨간색이에요."),
]


@pytest.fixture
def config(tmp_path):
    """A run of 12 steps."""
    tiny.starter()
    return make(tmp_path)


def make(tmp_path, **numbers):
    data = tiny.write(tmp_path / "train.jsonl", ROWS)
    usual = {
        "data": data,
        "epochs": 6,
        "batch_size": 2,
        "learning_rate": 1e-2,
        "dropout": 0.1,
        "suffix": "sky",
        "seed": 3,
    }
    return sft.Config("starter", **{**usual, **numbers})


def weights(entry):
    return (entry.path / "model.safetensors").read_bytes()


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def surprise(name, row):
    """Return the nats a token that the answer costs the model."""
    start = base.load(name)
    return sft.mean_loss(start.model, [encode.example(start.tokenizer, row)])


def test_the_loss_falls_and_the_right_answer_gains_probability_from_another(tmp_path, config):
    losses = []
    entry = sft.train(make(tmp_path, epochs=25), lambda progress: losses.append(progress.metrics["loss"]))
    assert len(losses) == 50 and losses[-1] < 0.2 * losses[0]
    wrong = tiny.chat("What colour is the sky?", "maybe bad, thanks")
    assert surprise(entry.name, ROWS[0]) < 0.2 * surprise("starter", ROWS[0])
    assert surprise(entry.name, wrong) > surprise("starter", wrong)


def test_the_first_loss_is_the_mean_over_the_answers_tokens(tmp_path, config):
    """A slow reference: the model's full log-probabilities, and of them the answer's and its end token's alone."""
    start = base.load("starter")
    nats = []
    for row in ROWS:
        ids = start.tokenizer.apply_chat_template(row["messages"], return_dict=False)
        answer = start.tokenizer.encode(row["messages"][1]["content"])
        with torch.no_grad():
            logps = start.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        nats += [-logps[t - 1, ids[t]].item() for t in range(len(ids) - len(answer) - 1, len(ids))]
    first = []
    sft.train(make(tmp_path, batch_size=4, dropout=0.0, epochs=1), lambda p: first.append(p.metrics["loss"]))
    assert first[0] == pytest.approx(sum(nats) / len(nats), rel=1e-5)


def test_the_model_lands_in_the_registry_with_its_lineage(config):
    entry = sft.train(config)
    assert entry.name.startswith("ft:starter:local:sky:") and registry.find(entry.name) == entry
    assert entry.meta["data"] == {config.data: sha256(config.data)}
    assert {key: entry.meta[key] for key in ("kind", "method", "base", "parents", "seed")} == {
        "kind": "chat",
        "method": "sft",
        "base": "starter",
        "parents": ["starter"],
        "seed": 3,
    }
    assert entry.meta["config"]["learning_rate"] == 1e-2 and entry.meta["config"]["data"] == config.data
    assert entry.meta["metrics"]["loss"] > 0
    assert len((entry.path / "metrics.jsonl").read_text().splitlines()) == 12
    assert not list((home() / "work").glob("*"))


def test_a_model_tuned_twice_keeps_its_root_and_names_its_parent(tmp_path, config):
    first = sft.train(config)
    second = sft.train(sft.Config(first.name, config.data, suffix="more", epochs=1, dropout=0.0))
    assert second.name.startswith("ft:starter:local:more:")
    assert (second.meta["base"], second.meta["parents"]) == ("starter", [first.name])


def test_the_hash_is_of_the_data_that_was_learned(tmp_path, config):
    learned = sha256(config.data)

    def report(progress):
        tiny.write(tmp_path / "train.jsonl", ROWS[:1])  # somebody edits the file meanwhile

    entry = sft.train(config, report)
    assert entry.meta["data"] == {config.data: learned}
    assert not list((home() / "work").glob("*"))


def test_the_same_seed_gives_the_same_weights(tmp_path, config):
    torch.manual_seed(1)
    first = sft.train(config)
    torch.manual_seed(2)
    second = sft.train(config)
    assert first.name != second.name and weights(first) == weights(second)
    assert weights(sft.train(make(tmp_path, seed=4))) != weights(first)


def test_the_seed_decides_the_order_and_dropout_each(tmp_path, config):
    ordered = [weights(sft.train(make(tmp_path, dropout=0.0, seed=seed))) for seed in (3, 4)]
    assert ordered[0] != ordered[1]
    one = tiny.write(tmp_path / "one.jsonl", ROWS[:1])  # a single row has no order
    dropped = [weights(sft.train(make(tmp_path, data=one, seed=seed))) for seed in (3, 4)]
    assert dropped[0] != dropped[1]


def test_dropout_is_on_while_training_and_off_in_the_saved_model(tmp_path, config):
    without = sft.train(make(tmp_path, dropout=0.0))
    assert weights(sft.train(config)) != weights(without)
    start = base.load(without.name)
    assert all(m.p == 0 for m in start.model.modules() if isinstance(m, torch.nn.Dropout))


@pytest.mark.parametrize("place", ["data", "validation"])
def test_a_bad_row_stops_everything_before_it_begins(tmp_path, place):
    tiny.starter()
    bad = tiny.write(tmp_path / "bad.jsonl", [*ROWS, tiny.chat("yes", "no " * 200)])
    steps = []
    with pytest.raises(UsageError, match=r"bad\.jsonl:5: a row is \d+ tokens long and the model's context is 96"):
        sft.train(make(tmp_path, **{place: bad}), steps.append)
    assert steps == []
    assert [entry.name for entry in registry.entries()] == ["starter"]
    assert not (home() / "work").exists()


def test_validation_is_measured_each_epoch_and_not_learned(tmp_path, config):
    other = tiny.write(tmp_path / "valid.jsonl", [tiny.chat("yes?", "bad maybe no."), ROWS[2]])
    curve = []
    measured = sft.train(make(tmp_path, validation=other), lambda p: curve.append(p.metrics))
    assert [i for i, metrics in enumerate(curve, 1) if "validation_loss" in metrics] == [2, 4, 6, 8, 10, 12]
    assert weights(measured) == weights(sft.train(config))
    rows = [tiny.chat("yes?", "bad maybe no."), ROWS[2]]
    start = base.load(measured.name)
    expected = sft.mean_loss(start.model, [encode.example(start.tokenizer, row) for row in rows], batch_size=1)
    assert measured.meta["metrics"]["validation_loss"] == pytest.approx(expected, rel=1e-4)


def test_data_that_changed_since_the_run_was_stopped_is_refused(tmp_path, config):
    def interrupt(progress):
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        sft.train(config, interrupt)
    tiny.write(tmp_path / "train.jsonl", ROWS[:3])
    with pytest.raises(UsageError) as caught:
        sft.train(config)
    (kept,) = (home() / "work").glob("sft-*")
    assert str(caught.value) == (
        f"{config.data} has changed since this training was stopped; put the file back to go on, or remove {kept} to begin anew"
    )
    tiny.write(tmp_path / "train.jsonl", ROWS)
    steps = []
    sft.train(config, lambda progress: steps.append(progress.step))
    assert steps[0] == 4


def test_a_loss_that_is_not_a_number_names_the_rows(tmp_path, config, monkeypatch):
    monkeypatch.setattr(sft, "learn", lambda compute, batch, parts: float("nan"))
    with pytest.raises(
        ModelError, match=r"sft step 1: loss is nan; .* look at this step's data: \S+train\.jsonl:\d, \S+:\d$"
    ):
        sft.train(config)


def test_a_run_is_not_taken_up_on_another_model_of_the_same_name(config):
    def interrupt(progress):
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        sft.train(config, interrupt)
    tiny.starter(seed=1)
    steps = []
    sft.train(config, lambda progress: steps.append(progress.step))
    assert steps == list(range(1, 13))
