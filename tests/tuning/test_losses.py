"""Each objective against numbers worked by hand or a slow loop that follows the paper's formula."""

import math

import numpy as np
import pytest
import torch

from tuning import losses


def softplus(x):
    return math.log1p(math.exp(x))


def random_batch(seed):
    """Return (rewards, values, mask) of three answers that begin and end at different places."""
    chance = torch.Generator().manual_seed(seed)
    mask = torch.zeros(3, 9)
    mask[0, 2:7], mask[1, 4:9], mask[2, 1:2] = 1, 1, 1
    return torch.randn(3, 9, generator=chance), torch.randn(3, 9, generator=chance), mask


def test_token_loss_is_the_mean_surprise_in_nats():
    logits = torch.tensor([[math.log(1), math.log(3)], [math.log(7), math.log(1)]])
    assert losses.token_loss(logits, torch.tensor([1, 1])).item() == pytest.approx((math.log(4 / 3) + math.log(8)) / 2)
    assert losses.token_logps(logits, torch.tensor([1, 1])).tolist() == pytest.approx([-math.log(4 / 3), -math.log(8)])


def test_a_ranking_of_four_with_a_tie_counts_its_five_pairs():
    scores, ranks = torch.tensor([2.0, -1.0, 0.5, 0.0]), torch.tensor([1, 3, 2, 2])
    gaps = [3.0, 1.5, 2.0, 1.5, 1.0]  # 1st over each of the others, both 2nd over the 3rd; the two 2nd are a tie
    assert sorted(losses.pair_gaps(scores, ranks).tolist()) == sorted(gaps)
    expected = sum(softplus(-gap) for gap in gaps) / 5
    assert losses.ranking_loss([scores], [ranks]).item() == pytest.approx(expected)


def test_a_prompt_counts_once_however_many_answers_it_has():
    many, few = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([0.0, 1.0])
    loss = losses.ranking_loss([many, few], [torch.tensor([1, 2, 3]), torch.tensor([1, 2])])
    of_many = (softplus(-1.5) + softplus(-3.0) + softplus(-1.5)) / 3
    assert loss.item() == pytest.approx((of_many + softplus(1.0)) / 2)


def test_prompts_whose_answers_all_tie_add_nothing():
    tied, ranked = torch.tensor([1.0, 5.0], requires_grad=True), torch.tensor([0.0, 1.0])
    ones = torch.tensor([1, 1])
    assert losses.ranking_loss([tied, ranked], [ones, torch.tensor([2, 1])]).item() == pytest.approx(softplus(-1.0))
    alone = losses.ranking_loss([tied], [ones])
    alone.backward()
    assert alone.item() == 0 and tied.grad.tolist() == [0, 0]


def test_whitening_looks_at_the_mask_alone():
    values, _, mask = random_batch(3)
    inside = values[mask.bool()].numpy()
    white = losses.whiten(values, mask)
    expected = (inside - inside.mean()) / inside.std(ddof=1)
    np.testing.assert_allclose(white[mask.bool()].numpy(), expected, rtol=1e-5, atol=1e-6)
    assert not white[mask == 0].any()


def test_whitening_leaves_noise_small():
    """Gaps of 0.01 between values of 1 are one bfloat16 rounding (2^-7), and are real in float32."""
    values, mask = torch.tensor([[1.0, 1.01, 0.99, 1.0, 5.0]]), torch.tensor([[1, 1, 1, 1, 0]])
    noise = {dtype: losses.rounding(values, mask, dtype) for dtype in ("float32", "bfloat16")}
    assert noise["bfloat16"] == pytest.approx(4 * 2**-7, rel=1e-3) and noise["float32"] < 1e-6
    spread = {dtype: losses.whiten(values, mask, least)[0, :4].std().item() for dtype, least in noise.items()}
    assert spread["float32"] == pytest.approx(1, rel=1e-2)
    assert spread["bfloat16"] == pytest.approx(0.00816 / (0.00816**2 + 0.03125**2) ** 0.5, rel=1e-2)


def test_the_score_lies_on_the_last_action_and_the_kl_on_each():
    mask = torch.tensor([[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    logps = torch.tensor([[9.0, -1.0, -2.0, 9.0], [9.0, 9.0, -0.5, -3.0]])
    reference = torch.tensor([[0.0, -1.5, -1.0, 0.0], [0.0, 0.0, -0.5, -4.0]])
    rewards = losses.penalised_rewards(torch.tensor([10.0, -20.0]), logps, reference, mask, beta=0.1)
    expected = [[0, -0.05, 10 + 0.1, 0], [0, 0, 0, -20 - 0.1]]
    torch.testing.assert_close(rewards, torch.tensor(expected))
    assert losses.last_action(mask).tolist() == [2, 3]


@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])
def test_gae_equals_the_sum_of_discounted_td_errors(lam):
    rewards, values, mask = random_batch(7)
    advantages, returns = losses.gae(rewards, values, mask, lam)
    for row in range(3):
        places = mask[row].nonzero()[:, 0].tolist()
        deltas = [
            rewards[row, t] + (values[row, t + 1] if t + 1 in places else 0) - values[row, t] for t in places
        ]  # arXiv 1506.02438 Eq. 9, gamma 1
        for n, t in enumerate(places):
            expected = sum(lam**k * delta for k, delta in enumerate(deltas[n:]))  # Eq. 16
            assert advantages[row, t].item() == pytest.approx(float(expected), abs=1e-5)
            assert returns[row, t].item() == pytest.approx(float(expected + values[row, t]), abs=1e-5)
    assert not advantages[mask == 0].any() and not returns[mask == 0].any()


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective"),
    [
        (1.5, 2.0, 2.4),  # too far up for a good action: held at 1.2
        (0.5, 2.0, 1.0),  # down for a good action: not held
        (1.5, -2.0, -3.0),  # up for a bad action: not held
        (0.5, -2.0, -1.6),  # too far down for a bad action: held at 0.8
        (1.1, 2.0, 2.2),  # inside the clip
    ],
)
def test_the_clip_takes_the_worse_of_the_two_surrogates(ratio, advantage, objective):
    logps, old = torch.tensor([[math.log(ratio) - 3, 5.0]]), torch.tensor([[-3.0, 0.0]])
    loss = losses.policy_loss(logps, old, torch.tensor([[advantage, 7.0]]), torch.tensor([[1.0, 0.0]]), clip=0.2)
    assert loss.item() == pytest.approx(-objective)


def test_policy_loss_is_the_mean_over_all_actions_together():
    logps = torch.zeros(2, 3)
    advantages = torch.tensor([[1.0, 2.0, 3.0], [5.0, 0.0, 0.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    assert losses.policy_loss(logps, logps, advantages, mask, 0.2).item() == pytest.approx(-11 / 4)


@pytest.mark.parametrize(
    ("value", "returned", "expected"),
    [
        (1.5, 2.0, 0.5 * (1.2 - 2.0) ** 2),  # moved too far towards the return: counted from 1.2
        (0.5, 2.0, 0.5 * (0.5 - 2.0) ** 2),  # moved away: counted as it is
        (1.1, 2.0, 0.5 * (1.1 - 2.0) ** 2),  # inside the clip
    ],
)
def test_a_value_gains_nothing_by_leaving_the_clip(value, returned, expected):
    mask = torch.tensor([[0.0, 1.0]])
    loss = losses.value_loss(
        torch.tensor([[9.0, value]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, returned]]), mask, 0.2
    )
    assert loss.item() == pytest.approx(expected)


def test_a_tokens_log_probability_by_one_pass_has_autograds_gradient():
    """Of rows that the pieces do not divide; the entropy is torch's own and has no gradient."""
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(70, 9, generator=generator) * 3, torch.randint(9, (70,), generator=generator)
    ours, its = (logits.clone().requires_grad_() for _ in range(2))
    logps, entropy = losses.token_logps_and_entropy(ours, targets)
    expected = its.log_softmax(-1)[torch.arange(70), targets]
    torch.testing.assert_close(logps, expected)
    torch.testing.assert_close(entropy, torch.distributions.Categorical(logits=logits).entropy())
    assert not entropy.requires_grad
    weight = torch.randn(70, generator=generator)
    (logps * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, its.grad)
