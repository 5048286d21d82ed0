"""The pool that refuses what is too near: the numbers of google's rouge-score, and the Korean rule beside them."""

import random

import pytest

from tuning.generate import rouge


def by_table(first, second):
    """Return the length of the longest common subsequence from the whole table, as a textbook has it."""
    above = [0] * (len(second) + 1)
    for a in first:
        row = [0]
        for place, b in enumerate(second):
            row.append(above[place] + 1 if a == b else max(above[place + 1], row[-1]))
        above = row
    return above[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't STOP-at 10.5%!", ["don", "t", "stop", "at", "10", "5"]),  # rouge_score.tokenize.tokenize(text, None)
        ("Naïve café", ["na", "ve", "caf"]),  # so does it: letters with accents part a word
        ("한국의 수도는?", ["한", "국", "의", "수", "도", "는"]),  # it keeps nothing of this
        ("Python으로 10개", ["python", "으", "로", "10", "개"]),
        ("東京はどこ", ["東", "京", "は", "ど", "こ"]),
        (" !?", []),
    ],
)
def test_tokens_are_those_of_rouge_score_and_the_syllables_it_drops(text, expected):
    assert rouge.tokens(text) == expected


def test_composed_and_decomposed_hangul_are_the_same():
    assert rouge.tokens("\u1112\u1161\u11ab") == rouge.tokens("한") == ["한"]


def test_the_common_subsequence_is_that_of_the_table():
    draw = random.Random(1)
    for _ in range(300):
        first, second = (draw.choices("abcde", k=draw.randrange(90)) for _ in "12")
        assert rouge.common(first, second) == by_table(first, second)


def test_the_f1_of_a_worked_pair():
    # Lin (2004), section 3: «police killed the gunman» against «police kill the gunman»: the subsequence is «police the gunman», P = R = 3/4
    first, second = ["police", "killed", "the", "gunman"], ["police", "kill", "the", "gunman"]
    assert rouge.f1(rouge.common(first, second), len(first), len(second)) == 0.75


def test_the_pool_refuses_what_scoring_every_pair_refuses():
    draw = random.Random(7)
    words = ["write", "a", "poem", "about", "the", "sea", "list", "three", "sort", "표를", "번역하세요"]
    kept = [" ".join(draw.choices(words, k=draw.randint(1, 12))) for _ in range(400)]
    pool, found = rouge.Pool(kept), []
    for _ in range(300):
        text = " ".join(draw.choices(words, k=draw.randint(1, 12)))
        asked = rouge.tokens(text)
        scores = [2 * by_table(asked, other) / (len(asked) + len(other)) for other in map(rouge.tokens, kept)]
        if any(abs(score - 0.7) < 1e-9 for score in scores):
            continue  # rounding decides there; the next test is about it
        found.append(pool.near(text))
        assert found[-1] == next((place for place, score in enumerate(scores) if score > 0.7), None)
    assert None in found and any(place is not None for place in found)


def test_an_f1_of_just_the_threshold_falls_where_rouge_score_puts_it():
    # 7 common of 10 and 10: 2 * 0.7 * 0.7 / 1.4 is 0.7 or one bit below in binary, never above, so the text is kept
    kept = "a b c d e f g x y z"
    pool = rouge.Pool([kept])
    assert pool.near("a b c d e f g u v w") is None
    assert pool.near("a b c d e f g x v w") == 0


def test_what_is_added_later_counts_and_an_empty_text_is_near_nothing():
    pool = rouge.Pool()
    assert pool.near("write a poem") is None
    pool.add("write a poem")
    pool.add("...")
    assert (pool.near("Write a poem!"), pool.near("..."), len(pool)) == (0, None, 2)


def test_korean_that_differs_in_a_particle_is_too_near():
    pool = rouge.Pool(["한국의 수도를 알려 주세요."])
    assert pool.near("한국의 수도는 알려 주세요") == 0
    assert pool.near("일본의 인구를 계산하세요.") is None
