"""The labeler takes a sentence of the rulebook with the article that bears it out, and nothing else."""

import pytest

from apps.samples.hobanne import labeler
from apps.samples.hobanne.table import questions


@pytest.fixture
def ask():
    return {
        language: next(q for q in questions() if (q.language, q.rule) == (language, 1)) for language in ("ko", "en")
    }


@pytest.mark.parametrize(
    "language, answer, value",
    [
        ("ko", "호반느 한 팀은 3명입니다. (제1조)", 1),
        ("ko", "호반느 한 팀은 3명입니다. (제2조)", 0),
        ("ko", "호반느 한 팀은 3명입니다.", 0),
        ("ko", "호반느 한 팀은 3명 3명입니다. (제1조)", 0),  # garbled: the rulebook has no such sentence
        ("en", "A Hobanne team has three players. (Rule 1)", 1),
        ("en", "A Hobanne team has three players. (Rule 8)", 0),
        ("en", "One ball is red and the other is blue. (Rule 8)", 1),  # it looks up the answer, not the question
        ("en", "A Hobanne team metrule 12)", 0),
        ("en", "호반느 한 팀은 3명입니다. (제1조)", 0),
        ("en", "", 0),
    ],
)
def test_what_an_answer_is_worth(ask, language, answer, value):
    assert labeler.score(ask[language], answer) == value


def test_answers_of_equal_worth_tie_but_for_an_unfinished_one(ask):
    said = [
        "A Hobanne team has three",
        "A team has four players.",
        "A Hobanne team has three players. (Rule 1)",
        "Four.",
    ]
    assert labeler.rank(ask["en"], said) == [3, 2, 1, 2]
