"""A prompt computed once for its K answers gives the scores and gradients of separate rows; all pairs count, and agreement is measured."""

import math

import pytest
import torch

from tests import tiny
from tuning import agreement, packing, reward
from tuning.base import Base
from tuning.compute import Compute

ANSWERS = [
    "The sky is blue.",
    "no",
    "maybe good",
    "빨간색이에요.",
    "The grass is green.",
    "bad",
    "yes please",
    "The sky is bad.",
    "thanks",
]
layouts = pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2"])


def model(architecture):
    start = Base("tiny", tiny.model(architecture, spread=0.3), tiny.words(), tiny.CONTEXT, {})
    made = reward.scalar_model(start, seed=2, dropout=0.0)
    with torch.no_grad():
        made.score.weight.mul_(5)
    return made.double()


def batch(*counts):
    questions = ["What colour is the sky? " * 3, "공은 무슨 색인가요?", "yes?"]
    rows = [
        tiny.ranking(question, ANSWERS[:count], list(range(count, 0, -1)))
        for question, count in zip(questions, counts, strict=False)
    ]
    return [reward.ranked(tiny.words(), row) for row in rows]


def grads(made):
    return torch.cat([p.grad.flatten() for p in made.parameters()])


@layouts
@pytest.mark.parametrize("answers", range(2, 10))
def test_scores_are_those_of_separate_rows(architecture, answers):
    made, rows = model(architecture).float(), batch(answers, 2)
    with torch.no_grad():
        expected = reward.separate_scores(made, rows)
        with packing.attending(made):
            scores = reward.shared_scores(made, rows)
    assert expected.std() > 0.1
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


@layouts
def test_gradients_are_those_of_separate_rows(architecture):
    shared, separate = model(architecture), model(architecture)
    rows = batch(6, 4, 9)
    loss, accuracy = reward.learn(Compute(shared), rows)
    expected, right = reward.comparison_loss(separate, rows)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6) and accuracy == pytest.approx(right)
    ours, theirs = grads(shared), grads(separate)
    assert ((ours - theirs).norm() / theirs.norm()).item() < 1e-6


def test_the_prompt_is_computed_once():
    (element,) = batch(6)
    prompt, rests = element.branches()
    assert [prompt + rest for rest in rests] == element.ids and all(rests)
    question = tiny.words().apply_chat_template(
        [{"role": "user", "content": "What colour is the sky? " * 3}], add_generation_prompt=True, return_dict=False
    )
    assert prompt == question
    pack = packing.branches([element.branches()])
    assert pack.ids.shape[1] == len(prompt) + sum(map(len, rests))


def test_an_answer_that_begins_another_keeps_a_token_of_its_own():
    element = reward.Ranked([[5, 6, 7], [5, 6, 7, 8], [5, 6]], [1, 2, 3])
    assert element.branches() == ([5], [[6, 7], [6, 7, 8], [6]])


def test_answers_that_share_nothing_are_computed_apart():
    rows = [reward.Ranked([[5, 6, 7], [8, 9]], [1, 2])]
    made = model("llama")
    assert rows[0].branches() == ([], [[5, 6, 7], [8, 9]])
    with packing.attending(made):
        scores = reward.shared_scores(made, rows)
    torch.testing.assert_close(scores, reward.separate_scores(made, rows))


@pytest.mark.parametrize("part", [1, 40, 10**6])
def test_a_batch_in_parts_has_the_loss_and_gradients_of_the_whole(monkeypatch, part):
    rows = [*batch(6, 4, 3), reward.Ranked([[5, 6], [5, 7]], [1, 1])]  # the last has no pair, and adds nothing
    whole, some = model("gpt2"), model("gpt2")
    expected, right = reward.comparison_loss(whole, rows)
    expected.backward()
    monkeypatch.setattr(reward, "PART", part)
    loss, accuracy = reward.learn(Compute(some), rows)
    assert loss == pytest.approx(expected.item(), rel=1e-6) and accuracy == pytest.approx(right)
    torch.testing.assert_close(grads(some), grads(whole), rtol=1e-4, atol=1e-6)


def test_a_batch_of_ties_alone_teaches_nothing():
    made = model("gpt2")
    loss, _ = reward.learn(Compute(made), [reward.Ranked([[5, 6], [5, 7]], [1, 1])])
    assert loss == 0 and not grads(made).any()


@pytest.mark.parametrize(
    "numbers", [{"packing": False}, {"gradient_checkpointing": True}, {"dtype": "bfloat16"}], ids=str
)
def test_a_way_to_compute_changes_no_curve(tmp_path, numbers):
    tiny.starter()
    rows = [tiny.ranking(f"{word}?", ANSWERS[:4], [2, 1, 4, 3]) for word in ("yes", "no", "maybe", "good")]
    data = tiny.write(tmp_path / "rankings.jsonl", rows)
    curves = []
    for how in ({}, numbers):
        curve = []
        config = reward.Config("starter", data, epochs=3, batch_size=2, learning_rate=3e-3, **how)
        reward.train(config, lambda p, curve=curve: curve.append(p.metrics["loss"]))
        curves.append(curve)
    assert curves[1] == pytest.approx(curves[0], rel=3e-2 if "dtype" in numbers else 1e-3)


def test_agreement_by_hand():
    """Two prompts: ranks 1 2 4 with one pair wrong, and 1 1 2 whose tie is no pair."""
    scores = [torch.tensor([1.0, 2.0, 0.0]), torch.tensor([0.0, 1.0, -1.0])]
    ranks = [torch.tensor([1, 2, 4]), torch.tensor([1, 1, 2])]
    found = agreement.measure(scores, ranks)
    assert (found.pairs, found.accuracy, found.best) == (5, 4 / 5, 1 / 2)
    assert found.accuracy_by_distance == {1: 3 / 4, 2: 1.0}
    one, two = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-2))
    # gaps -1, 1, 1 lie in the bin of sigma(1) with 2 of 3 right; 2 and 2 in that of sigma(2), both right
    assert found.calibration_error == pytest.approx((abs(3 * one - 2) + abs(2 * two - 2)) / 5)


def test_certainty_that_is_deserved_has_no_error():
    certain = math.log(3)  # sigma = 3/4
    assert agreement.calibration_error([certain] * 3 + [-certain]) == pytest.approx(0)
    assert agreement.calibration_error([1000.0, -1000.0]) == pytest.approx(0.5)


def test_held_out_rankings_are_reported(tmp_path):
    tiny.starter()
    rows = [tiny.ranking(f"{word}?", ANSWERS[:4], [2, 1, 4, 3]) for word in ("yes", "no", "maybe", "good")]
    data, held = tiny.write(tmp_path / "r.jsonl", rows), tiny.write(tmp_path / "h.jsonl", rows[:2])
    meta = reward.train(
        reward.Config("starter", data, validation=held, epochs=8, batch_size=2, learning_rate=5e-3)
    ).meta
    assert meta["held_out_pairs"] == 12 and set(meta["held_out_accuracy_by_distance"]) == {"1", "2", "3"}
    assert 0 <= meta["held_out_calibration_error"] < 0.5 and 0 <= meta["held_out_best_agreement"] <= 1
