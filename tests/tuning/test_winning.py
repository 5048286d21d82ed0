"""Win rates against published and hand-worked intervals; a judge that prefers what it reads first wins nothing."""

import pytest

from chains import load_model
from chains.errors import UsageError
from tests import tiny
from tuning import formats, winning
from tuning.generate import judge
from tuning.generate.ask import Asker

PROMPTS = [[{"role": "user", "content": f"question {n}"}] for n in range(6)]
LONG = [f"a longer answer {n}" for n in range(6)]
SHORT = [f"short {n}" for n in range(6)]


def test_alpacas_90_to_89_recommends_nobody():
    """90 wins and 89 losses (Taori et al. 2023): Wilson's 95 % interval is 0.4301 to 0.5752 by his formula, worked by hand."""
    found = winning.win(90, 89)
    assert found.rate == pytest.approx(90 / 179)
    assert (found.low, found.high) == (pytest.approx(0.4301, abs=1e-3), pytest.approx(0.5752, abs=1e-3))
    assert not found.recommended and not winning.win(89, 90).recommended


def test_the_interval_is_wilsons():
    """8 of 10 at 95 %: 0.490 to 0.943 (Brown, Cai and DasGupta 2001, the Wilson interval)."""
    low, high = winning.interval(0.8, 10, 0.95)
    assert (low, high) == (pytest.approx(0.490, abs=1e-3), pytest.approx(0.943, abs=1e-3))


def test_the_gate_opens_where_the_whole_interval_is_above_one_half():
    assert not winning.win(8, 2).recommended  # 0.490 is the low end
    assert winning.win(80, 20).recommended
    assert not winning.win(20, 80).recommended
    assert winning.win(0, 0, ties=4).rate == 0.5
    with pytest.raises(UsageError, match="no pair was compared"):
        winning.win(0, 0)


class Lengths:
    """Scores an answer by its length."""

    def score_many(self, pairs):
        return [float(len(answer)) for _, answer in pairs]


def test_whose_answer_won_does_not_depend_on_the_order_shown():
    rows = winning.pairs(PROMPTS, LONG, SHORT)
    assert {tuple(row["shown"]) for row in rows} == {("A", "B"), ("B", "A")}
    found = winning.judged(rows, judge.by_reward(Lengths()))
    assert (found.wins, found.losses, found.ties) == (6, 0, 0)
    turned = winning.judged(winning.pairs(PROMPTS, SHORT, LONG), judge.by_reward(Lengths()))
    assert (turned.wins, turned.losses, turned.ties) == (0, 6, 0)


def test_equal_answers_tie_without_the_judge():
    rows = winning.pairs(PROMPTS, LONG, [*LONG[:4], *SHORT[4:]])
    asked = []
    found = winning.judged(rows, lambda few: asked.extend(few) or judge.by_reward(Lengths())(few))
    assert (found.wins, found.losses, found.ties, len(asked)) == (2, 0, 4, 2)


def test_a_judge_that_always_says_the_first_is_no_winner():
    asker = Asker(load_model("fake:A"))
    found = winning.judged(winning.pairs(PROMPTS, LONG, SHORT), judge.by_chat(asker))
    assert (found.wins, found.losses, found.ties) == (0, 0, 6)


def test_a_persons_file_is_counted_by_whose_answer_it_was(tmp_path):
    rows = winning.pairs(PROMPTS, LONG, SHORT)
    for number, row in enumerate(rows):
        for name, output in zip(row["shown"], row["outputs"], strict=True):
            output["rank"] = 1 if (name == "A") == (number < 4) else 2  # A wins the first four
    found = winning.labelled(tiny.write(tmp_path / "ranked.jsonl", rows))
    assert (found.wins, found.losses, found.ties) == (4, 2, 0)


def test_a_row_that_is_no_ranked_pair_is_named(tmp_path):
    path = tiny.write(tmp_path / "r.jsonl", [tiny.ranking("yes?", ["a", "b"], [1, 2])])
    with pytest.raises(UsageError, match=r"r\.jsonl:1: is no ranked pair"):
        winning.labelled(path)
    assert len(formats.read_rankings(path)) == 1
