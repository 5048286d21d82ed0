"""The PPO benchmark prints a ratio only of equal work, and its own side's update is the product's."""

import json
from argparse import Namespace

import pytest

from tests import tiny
from tests.bench import ppo, side_grpo_ours, side_ppo_ours
from tests.bench.compare import Side


def side(name, seconds, tokens=48.0, entropy=8.0):
    answers = {
        "seconds": seconds,
        "cpu": seconds,
        "tokens": tokens,
        "entropy": entropy,
        "parts": {"rollout": 1.0, "forward": 3.0},
    }
    made = Side(name, "python", {}, [{"answers": answers, "extra_mb": 100.0}])
    ppo.rate(made, 32)
    return made


def printed(capsys, ours, theirs):
    given = Namespace(json=True, dtype="fp32")
    ppo.report(given, "ppo", "4 epochs", ours, theirs)
    ppo.parts(given, "4 epochs", ours, Side("shared", "python", {}))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_equal_work_has_a_ratio_and_our_parts(capsys):
    row, parts = printed(capsys, side("ours", 8.0), side("trl", 20.0, entropy=8.1))
    assert (row["ours"], row["theirs"], row["ratio"], row["cpu_ratio"]) == (4.0, 1.6, 2.5, 2.5)
    assert (parts["rollout"], parts["forward"]) == ("25%", "75%")


def test_another_arrangement_says_how_many_times_the_first_it_is(capsys):
    ppo.parts(Namespace(json=True), "4 epochs", side("ours", 8.0), side("ours, shared trunk", 5.0))
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert "times" not in first and second["times"] == 1.6


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        (side("trl", 20.0, tokens=12.0), "they sampled 48.0 and 12.0 tokens an answer"),
        (side("trl", 20.0, entropy=5.0), "their policies' entropies are 8.00 and 5.00 nats"),
        (Side("trl", "python", {}, failed="no torch"), "trl did not run: no torch"),
    ],
)
def test_other_work_has_none(capsys, theirs, why):
    row = printed(capsys, side("ours", 8.0), theirs)[0]
    assert row["not_compared"] == why and "ratio" not in row


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_our_update_samples_the_whole_length(tmp_path, dtype):
    tiny.model().save_pretrained(tmp_path)
    words = tiny.words()
    words.save_pretrained(tmp_path)
    spec = {
        "folder": str(tmp_path),
        "threads": 1,
        "prompts": [[300, 301], [302, 303]],
        "epochs": 2,
        "answer": 5,
        "dtype": dtype,
    }
    found = side_ppo_ours.load(spec).run()
    assert 1 <= found["tokens"] <= 5 and found["seconds"] > 0
    assert {"rollout", "scoring", "forward", "backward", "optimiser"} == set(found["parts"])


def test_our_groups_update_samples_the_whole_length(tmp_path):
    tiny.model().save_pretrained(tmp_path)
    tiny.words().save_pretrained(tmp_path)
    spec = {
        "folder": str(tmp_path),
        "threads": 1,
        "texts": ["yes no", "maybe"],
        "group": 3,
        "answer": 5,
        "dtype": "fp32",
    }
    found = side_grpo_ours.load(spec).run()
    assert 1 <= found["tokens"] <= 5 and found["entropy"] > 0
    assert {"rollout", "scoring", "forward", "backward", "optimiser"} == set(found["parts"])
