"""GRPO's and RLOO's objectives against numbers worked by hand, and against REINFORCE."""

import math

import pytest
import torch

from tuning import group_losses

REWARDS = torch.tensor([[1.0, 2.0, 6.0], [4.0, 4.0, 4.0]])


def test_a_groups_advantages_are_in_its_own_deviations():
    """Mean 3, squared gaps 4 + 1 + 9 over 2: the deviation is sqrt 7."""
    found = group_losses.group_advantages(REWARDS)
    torch.testing.assert_close(found[0], torch.tensor([-2.0, -1.0, 3.0]) / (math.sqrt(7) + 1e-4))
    assert found[1].tolist() == [0, 0, 0]


def test_leaving_one_out_compares_with_the_others():
    found = group_losses.leave_one_out(REWARDS)
    torch.testing.assert_close(found, torch.tensor([[1 - 4.0, 2 - 3.5, 6 - 1.5], [0, 0, 0]]))


def test_grpos_loss_by_hand():
    """Two answers of two and one tokens; ratios 1.5 (clipped to 1.2), 1 and 0.5 (a negative advantage: clipped to 0.8)."""
    old = torch.tensor([[-1.0, -2.0], [-1.5, 0.0]])
    logps = old + torch.tensor([[math.log(1.5), 0.0], [math.log(0.5), 9.0]])
    reference = logps.clone()
    reference[0, 1] += math.log(2)  # KL there: 2 - ln 2 - 1
    mask = torch.tensor([[1, 1], [1, 0]])
    loss = group_losses.grpo_loss(logps, old, reference, torch.tensor([2.0, -3.0]), mask, 0.2, 0.1)
    first = (2 * 1.2 + 2 * 1.0 - 0.1 * (1 - math.log(2))) / 2
    assert loss.item() == pytest.approx(-(first + -3 * 0.8) / 2, rel=1e-5)


def test_the_kl_estimate_is_zero_only_where_the_two_agree():
    found = group_losses.kl_estimate(torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([-1.0, -3.0, 0.5]))
    torch.testing.assert_close(found, torch.tensor([0.0, math.exp(-2) + 2 - 1, math.exp(1.5) - 1.5 - 1]))


def test_rloos_gradient_is_reinforces_while_the_policy_has_not_moved():
    logps = torch.tensor([[-1.0, -2.0, 0.0], [-0.5, -0.1, -3.0]], requires_grad=True)
    mask, advantages = torch.tensor([[1, 1, 0], [1, 1, 1]]), torch.tensor([0.7, -1.1])
    group_losses.rloo_loss(logps, logps.detach(), advantages, mask, 0.2).backward()
    torch.testing.assert_close(logps.grad, -advantages[:, None] * mask / 2)


def test_rloo_clips_the_ratio_of_the_whole_answer():
    old = torch.zeros(2, 2)
    logps = torch.tensor([[0.2, 0.3], [0.2, -0.2]])  # ratios e^0.5 and 1
    loss = group_losses.rloo_loss(logps, old, torch.tensor([1.0, 1.0]), torch.ones(2, 2), 0.2)
    assert loss.item() == pytest.approx(-(1.2 + 1.0) / 2)
