"""SQuAD's and KorQuAD's measures, worked by hand; and against the scripts' rules on what each removes."""

import unicodedata

import pytest

from chains.span_measures import span_exact, span_f1


@pytest.mark.parametrize(
    ("answer", "references", "same"),
    [
        ("The Denver Broncos.", ["Denver Broncos"], True),  # article and mark
        ("in 1990", ["1990"], False),
        ("the U.S.", ["US", "America"], True),  # marks vanish, they are no spaces
        ("A", ["the"], True),  # nothing is left of either
        ("《춘향전》", ["춘향전"], True),
        ("the 축구", ["축구"], False),  # articles stay beside a Korean reference
        (unicodedata.normalize("NFD", "축구"), [unicodedata.normalize("NFD", "축구")], True),
        ("축구 경기", ["축구경기"], False),
    ],
)
def test_exact(answer, references, same):
    assert span_exact(answer, references) is same


@pytest.mark.parametrize(
    ("answer", "references", "value"),
    [
        ("the red bike", ["a bike"], 2 * 1 / (2 + 1)),  # one of two words said, of one wanted
        ("red red bike", ["red bike bike"], 4 / 6),  # a word counts as often as both have it
        ("blue", ["red", "dark blue"], 2 / 3),  # the best reference
        ("칠 분입니다", ["7분", "칠 분"], 2 * 2 / (5 + 2)),  # characters 칠분 of 칠분입니다
        ("서울특별시", ["서울시"], 2 * 3 / (5 + 3)),  # words would have nothing in common
        ("축구 경기", ["축구경기"], 1.0),
        ("", ["축구"], 0.0),
        ("the", ["an"], 1.0),
    ],
)
def test_f1(answer, references, value):
    assert span_f1(answer, references) == pytest.approx(value)
