"""The measures, against values worked out by hand."""

import unicodedata

import pytest

from chains.measures import exact, f1


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("Paris", "paris.", True),
        ("  the  red\nbike ", "The red bike!", True),
        (unicodedata.normalize("NFD", "축구"), "축구", True),
        ("축구 경기입니다.", "축구 경기입니다", True),
        ("STRASSE", "straße", True),
        ("3.5", "35", False),
        ("Mr. Kim", "Mr Kim", False),
        ("red bike", "bike red", False),
        ("", "", True),
        ("x", "", False),
    ],
)
def test_exact_overlooks_case_spaces_form_and_the_last_mark_alone(answer, reference, same):
    assert exact(answer, reference) is same


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ("the red bike", "the bike", 2 * (2 / 3) * 1 / (2 / 3 + 1)),  # precision 2/3, recall 1
        ("a a b", "a a c", 2 / 3),  # both a are common, of three words and three
        ("red", "blue", 0),
        ("공이 밖으로 나갔다.", "공이 나갔다", 2 * (2 / 3) * 1 / (2 / 3 + 1)),
        ("Bike!", "bike", 1),
        ("", "", 1),
        ("", "bike", 0),
        ("bike", "", 0),
    ],
)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(answer, reference, value):
    assert f1(answer, reference) == pytest.approx(value)
    assert f1(reference, answer) == pytest.approx(value)
