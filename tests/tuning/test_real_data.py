"""A small trained model learns from people's own instructions and rankings; the files are not shipped, so elsewhere nothing is run."""

import json
import math
from pathlib import Path

import pytest

from tests import tiny
from tuning import reward, sft

DATA = Path(__file__).parents[3] / "shared" / "data"
MODEL = f"hf:{DATA / 'models' / 'stories260K'}"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real data files are not here (shared/data)")


def curve(entry, name="loss"):
    return [json.loads(line)[name] for line in (entry.path / "metrics.jsonl").read_text().splitlines()]


def mean(numbers):
    return sum(numbers) / len(numbers)


def test_instructions_are_learned(home, tmp_path):
    """96 of Alpaca's, three times: the loss a token of the last pass is a tenth below the first one's."""
    rows = json.loads((DATA / "alpaca" / "alpaca_5000.json").read_text())
    short = [row for row in rows if len(row["instruction"] + row["output"]) < 200 and not row["input"]][:96]
    data = tiny.write(tmp_path / "a.jsonl", [tiny.chat(row["instruction"], row["output"]) for row in short])
    losses = curve(sft.train(sft.Config(MODEL, data, epochs=3, batch_size=16, learning_rate=2e-3, dropout=0.0)))
    assert len(losses) == 18
    assert mean(losses[-6:]) < 0.9 * mean(losses[:6])


def test_peoples_rankings_of_six_answers_are_learned(home, tmp_path):
    """30 prompts of Topical-Chat with six answers each, ranked by three raters: the reward model comes to agree with them."""
    rows = json.loads((DATA / "preference" / "topical_chat_usr_human_k6.json").read_text())
    groups = {}
    for row in rows:
        groups.setdefault(row["source"], []).append(row)
    ranked = [tiny.ranking(source[-150:], *_order(six)) for source, six in groups.items() if len(six) == 6][:30]
    assert len(ranked) == 30
    data = tiny.write(tmp_path / "r.jsonl", ranked)
    entry = reward.train(reward.Config(MODEL, data, epochs=6, batch_size=5, learning_rate=2e-3))
    losses, accuracy = curve(entry), curve(entry, "pair_accuracy")
    assert mean(losses[-6:]) < 0.9 * math.log(2)
    assert mean(accuracy[-6:]) > 0.65 > mean(accuracy[:3])


def _order(six):
    """Return the answers and their ranks: 1 for the highest `overall`, equal for equal."""
    scores = [row["scores"]["overall"] for row in six]
    return [row["system_output"][:150] for row in six], [1 + sum(other > score for other in scores) for score in scores]
