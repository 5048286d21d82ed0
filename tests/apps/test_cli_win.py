"""`eval win` compares two models by a judge or a person's file, in English, Korean and JSON."""

import json

import pytest

from apps.cli import main
from tests import tiny

QUESTIONS = ["yes?", "no?", "공은 무슨 색인가요?"]


@pytest.fixture
def prompts(home, tmp_path):
    tiny.starter("one")
    tiny.starter("two", seed=1)
    tiny.judge()
    return tiny.write(tmp_path / "p.jsonl", [tiny.chat(question, "ignored") for question in QUESTIONS])


def test_a_reward_model_decides(prompts, capsys):
    command = ["eval", "win", "one", "two", "--prompts", prompts, "--judge", "judge", "--max-tokens", "5", "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["compared"] == 3 == found["wins"] + found["losses"] + found["ties"]
    assert 0 <= found["low"] <= found["rate"] <= found["high"] <= 1 and found["recommended"] is False
    turned = ["eval", "win", "two", "one", *command[4:]]
    assert main(turned) == 0
    other = json.loads(capsys.readouterr().out)
    assert (other["wins"], other["losses"]) == (found["losses"], found["wins"])


def test_a_person_ranks_the_pairs_and_the_file_is_counted(prompts, tmp_path, capsys):
    out = tmp_path / "pairs.jsonl"
    assert main(["eval", "win", "one", "two", "--prompts", prompts, "--out", str(out), "--max-tokens", "5"]) == 0
    assert "3 pairs; rank them with `chaintune data label" in capsys.readouterr().out
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    for row in rows:
        for name, output in zip(row["shown"], row["outputs"], strict=True):
            output["rank"] = 1 if name == "A" else 2
    ranked = tiny.write(tmp_path / "ranked.jsonl", rows)
    assert main(["eval", "win", "--labels", ranked, "--lang", "ko"]) == 0
    said = capsys.readouterr().out
    assert "3번 가운데 3승 0패 0무" in said and "권하지 않습니다" in said
    assert main(["eval", "win", "--labels", tiny.write(tmp_path / "many.jsonl", rows * 20)]) == 0
    assert "A is better than B: recommended" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["one", "two"], ["one"], ["one", "two", "--judge", "judge"]])
def test_half_a_comparison_is_refused(prompts, words, capsys):
    assert main(["eval", "win", *words]) == 2
    assert "the comparison is not whole" in capsys.readouterr().err
