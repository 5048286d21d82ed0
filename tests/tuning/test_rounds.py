"""Rounds of ranking and PPO: each uses the recommended policy, all rankings so far, and what is done is not done again."""

import dataclasses
import json

import pytest

from apps.cli import main
from chains.errors import UsageError
from chains.models import registry
from tests import tiny
from tuning import rounds

QUESTIONS = ["yes?", "no?", "maybe?"]
HELD = [
    "good?",
    "bad?",
    "please?",
    "thanks?",
    "What colour is the sky?",
    "몇 명이 뛰나요?",
    "공은 무슨 색인가요?",
    "sky",
    "grass",
    "여섯",
]


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


def test_a_round_ranks_the_recommended_policy_and_makes_both_models_anew(config, tmp_path):
    entry, seen = stages(config)
    assert seen == ["reward", "ppo"] * 2
    one, two = (tmp_path / "loop" / f"round-{n}" for n in (1, 2))
    made = [json.loads((folder / "models.json").read_text()) for folder in (one, two)]
    assert registry.find(made[1]["policy"]).meta["parents"] == ["starter", made[1]["reward_model"]]
    assert rows(two / "rankings.all.jsonl") == rows(one / "rankings.jsonl") + rows(two / "rankings.jsonl")
    assert rows(one / "answers.jsonl") != rows(two / "answers.jsonl")
    for row in rows(one / "rankings.jsonl"):
        assert len(row["outputs"]) == 3 and len({output["rank"] for output in row["outputs"]}) > 1
    assert [verdict["verdict"]["win"]["recommended"] for verdict in made] == [
        False,
        False,
    ]  # three prompts show nothing
    assert entry.name == "starter" == made[1]["verdict"]["recommended"]


def ranked(folder, better):
    """Rank the round's pairs as a person who finds every answer of `better` (A: the new policy) the better one."""
    found = rows(folder / "pairs.jsonl")
    for row in found:
        for output, whose in zip(row["outputs"], row["shown"], strict=True):
            output["rank"] = 1 if whose == better else 2
    tiny.write(folder / "pairs.ranked.jsonl", found)
    return len(found)


@pytest.mark.parametrize("better", ["A", "B"])
def test_the_next_round_starts_from_the_policy_that_a_person_found_better(config, tmp_path, monkeypatch, better):
    """Ten pairs: Wilson's interval is above one half from 9 of 10 on, so that all of them decide."""
    held = tiny.write(tmp_path / "held.jsonl", [tiny.chat(question, "ignored") for question in HELD])
    asked, sample = [], rounds._sample
    monkeypatch.setattr(rounds, "_sample", lambda *given: asked.append(given[3]) or sample(*given))
    person = dataclasses.replace(config, judge=None, validation=held, learning_rate=3e-2, iterations=4)
    said = []
    for number in (1, 2):
        folder = tmp_path / "loop" / f"round-{number}"
        with pytest.raises(UsageError, match=f"round {number} waits for ranks"):
            rounds.train(person, told=said.append)
        answers = rows(folder / "answers.jsonl")
        for row in answers:
            for rank, output in enumerate(row["outputs"]):
                output["rank"] = rank + 1
        tiny.write(folder / "rankings.jsonl", answers)
        with pytest.raises(
            UsageError, match=rf"round {number} waits for a comparison of its policy with .*pairs\.jsonl --out"
        ):
            rounds.train(person)
        assert ranked(folder, better) >= 8
    said.clear()
    entry = rounds.train(person, told=said.append)
    first, second = said
    assert [verdict.win.recommended for verdict in said] == [better == "A"] * 2
    assert first.against == "starter" and second.against == (first.policy if better == "A" else "starter")
    assert asked == ["starter", second.against]
    assert entry.name == (second.policy if better == "A" else "starter")


def test_the_command_says_whether_a_rounds_model_is_recommended(config, capsys, monkeypatch):
    monkeypatch.setenv("CHAINTUNE_LANG", "ko")
    numbers = {**dataclasses.asdict(config), "rounds": 1, "suffix": "one"}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in numbers.items() if value and value is not True]
    assert main(["tune", "loop", *flags]) == 0
    said = capsys.readouterr()
    assert "1번째 라운드:\nft:starter:local:one:" in said.err and "낫다고 할 수 없습니다. 권하지 않습니다" in said.err
    assert said.out.splitlines()[0] == "starter"


def test_what_is_done_is_not_done_again(config, monkeypatch):
    def stop(progress):
        if progress.stage == "ppo":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rounds.train(config, stop)
    names = {entry.name for entry in registry.entries()}
    _, seen = stages(config)
    assert seen == ["ppo", "reward", "ppo"]  # the first reward model was there
    assert names < {entry.name for entry in registry.entries()}
    _, seen = stages(config)
    assert seen == []
    _, seen = stages(dataclasses.replace(config, rounds=3))
    assert seen == ["reward", "ppo"]


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
    seen = []
    with pytest.raises(
        UsageError, match="round 1 waits for a comparison of its policy with starter: chaintune data label"
    ):
        rounds.train(alone, lambda at: seen.append(at.stage) if at.step == at.steps else None)
    assert seen == ["reward", "ppo"]
