"""The watch for mode collapse names the sign that fell, and is silent where none did."""

import warnings

import pytest
import torch

from chains.models.engine import Engine
from chains.models.scorer import Scorer
from tests import tiny
from tuning import collapse, reward
from tuning.base import Base

FIRST = {"entropy": 4.0, "distinct_2": 0.8, "best_of_n": 2.0}


@pytest.mark.parametrize(
    ("fell", "sentence"),
    [
        ({"entropy": 0.9}, "the entropy a token fell to 0.9 from 4"),
        ({"distinct_2": 0.1, "entropy": 0.9}, "the share of different token pairs fell to 0.1 from 0.8"),
        ({"best_of_n": 0.0}, "the gain of the best of 4 answers fell to 0 from 2"),
    ],
)
def test_the_sign_that_fell_the_most_is_named(fell, sentence):
    with pytest.warns(UserWarning, match=f"collapsing onto few answers: {sentence}; raise kl_coefficient"):
        assert collapse.watch({**FIRST, **fell}, FIRST)


def test_signs_that_stay_are_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not collapse.watch({"entropy": 1.1, "distinct_2": 0.5, "best_of_n": 9.0}, FIRST)
        assert not collapse.watch({"best_of_n": 0.0}, {"best_of_n": 0.0})  # a reward that never told them apart


class Lengths:
    """Scores an answer by its number of tokens."""

    def score_ids(self, rows):
        return [float(len(row)) for row in rows]


def test_the_gain_of_the_best_is_above_the_mean_of_its_own_prompt():
    engine = Engine(tiny.model(), tiny.words())
    prompts = [[300], [301] * 30]  # the prompts' own lengths cancel
    gain = collapse.best_of_n(engine, Lengths(), prompts, 12, seed=5)
    said = collapse.rollout.sample(engine, [prompts[n // 4] for n in range(8)], 12, range(5, 13))
    lengths = [said.lengths[n : n + 4].tolist() for n in (0, 4)]
    assert gain == pytest.approx(sum(max(four) - sum(four) / 4 for four in lengths) / 2)


def test_a_policy_with_one_answer_gains_nothing():
    model = tiny.model()
    with torch.no_grad():
        model.transformer.wte.weight[7] += 50 * model.transformer.wte.weight[7].sign()
    scorer = Scorer(reward.scalar_model(Base("t", tiny.model(), tiny.words(), 96, {}), 1, 0.0), tiny.words())
    engine = Engine(model, tiny.words())
    flat = collapse.best_of_n(Engine(tiny.model(), tiny.words()), scorer, [[9]], 4, seed=1)
    one = collapse.best_of_n(engine, scorer, [[7]], 4, seed=1)
    assert flat > 1e-3 and one < flat
