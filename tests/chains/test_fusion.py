"""Fusion of rankings, worked by hand: each rank r gives weight / (60 + r), as a share of what first places everywhere make."""

import pytest

from chains.fusion import fused

WORDS, MEANING = ["a", "b"], ["b", "c", "d"]


def test_equal_weights():
    found = fused([WORDS, MEANING])
    assert found == pytest.approx({"b": 61 / 124 + 61 / 122, "a": 61 / 122, "c": 61 / 124, "d": 61 / 126})
    assert list(found) == ["b", "a", "c", "d"]


def test_weights_are_shares():
    found = fused([WORDS, MEANING], [3, 1])
    assert found == pytest.approx({"b": 3 / 4 * 61 / 62 + 1 / 4, "a": 3 / 4, "c": 61 / 62 / 4, "d": 61 / 63 / 4})


def test_what_weighs_nothing_has_no_part():
    assert fused([WORDS, MEANING], [0, 1]) == pytest.approx({"b": 1, "c": 61 / 62, "d": 61 / 63})
    assert fused([], []) == {}


def test_one_ranking_keeps_its_order():
    assert fused([MEANING]) == pytest.approx({"b": 1, "c": 61 / 62, "d": 61 / 63})
