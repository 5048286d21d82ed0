"""Rounds of ranking and PPO: each uses the newest policy, all rankings so far, and what is done is not done again."""

import dataclasses
import json

import pytest

from chains.errors import UsageError
from chains.models import registry
from tests import tiny
from tuning import rounds

QUESTIONS = ["yes?", "no?", "maybe?"]


@pytest.fixture
def config(home, tmp_path):
    tiny.starter()
    tiny.judge()
    prompts = tiny.write(tmp_path / "p.jsonl", [tiny.chat(question, "ignored") for question in QUESTIONS])
    return rounds.Config(
        "starter", prompts, str(tmp_path / "loop"), rounds=2, judge="judge", answers=3, iterations=2, batch_size=3,
        minibatch_size=3, max_tokens=5, seed=1,
    )  # fmt: skip


def stages(config):
    seen = []
    entry = rounds.train(config, lambda at: seen.append(at.stage) if at.step == at.steps else None)
    return entry, seen


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_round_ranks_the_newest_policy_and_makes_both_models_anew(config, tmp_path):
    entry, seen = stages(config)
    assert seen == ["reward", "ppo"] * 2
    one, two = (tmp_path / "loop" / f"round-{n}" for n in (1, 2))
    made = [json.loads((folder / "models.json").read_text()) for folder in (one, two)]
    assert entry.name == made[1]["policy"]
    assert entry.meta["parents"] == ["starter", made[1]["reward_model"]]
    assert rows(two / "rankings.all.jsonl") == rows(one / "rankings.jsonl") + rows(two / "rankings.jsonl")
    assert rows(one / "answers.jsonl") != rows(two / "answers.jsonl")
    for row in rows(one / "rankings.jsonl"):
        assert len(row["outputs"]) == 3 and len({output["rank"] for output in row["outputs"]}) > 1


def test_what_is_done_is_not_done_again(config, monkeypatch):
    def stop(progress):
        if progress.stage == "ppo":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rounds.train(config, stop)
    names = {entry.name for entry in registry.entries()}
    entry, seen = stages(config)
    assert seen == ["ppo", "reward", "ppo"]  # the first reward model was there
    assert names < {entry.name for entry in registry.entries()}
    again, seen = stages(config)
    assert (again.name, seen) == (entry.name, [])
    more, seen = stages(dataclasses.replace(config, rounds=3))
    assert seen == ["reward", "ppo"] and more.name != entry.name


def test_without_a_judge_it_waits_for_a_persons_ranks(config, tmp_path):
    alone = dataclasses.replace(config, judge=None, rounds=1)
    folder = tmp_path / "loop" / "round-1"
    sentence = (
        f"round 1 waits for ranks: chaintune data label {folder}/answers.jsonl --out {folder}/rankings.jsonl; then"
    )
    for _ in range(2):
        with pytest.raises(UsageError) as caught:
            rounds.train(alone)
        assert str(caught.value).startswith(sentence)
    answers = rows(folder / "answers.jsonl")
    for row in answers:
        for rank, output in enumerate(row["outputs"]):
            output["rank"] = rank + 1
    tiny.write(folder / "rankings.jsonl", answers)
    entry, seen = stages(alone)
    assert seen == ["reward", "ppo"] and entry.name.startswith("ft:starter:local:loop:")
