"""Where sentences are: the expected ones are written by hand."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.sentences import sentences


def of(text):
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The game starts. It ends!\nWho won?", ["The game starts.", "It ends!", "Who won?"]),
        ("경기가 시작된다. 누가 이길까? 알 수 없어요.", ["경기가 시작된다.", "누가 이길까?", "알 수 없어요."]),
        ("공을 던졌다.그는 뛰었어요.끝.", ["공을 던졌다.", "그는 뛰었어요.", "끝."]),  # typed without the space
        (
            "길이는 3.5미터다. 그다음은 2.0이다.",
            ["길이는 3.5미터다.", "그다음은 2.0이다."],
        ),  # a decimal point is no end
        (
            "It is 5.5 m, i.e. short. Dr. Kim left at 3 p.m. yesterday.",
            ["It is 5.5 m, i.e. short.", "Dr. Kim left at 3 p.m. yesterday."],
        ),
        ('She said "Stop." Then "Go!" again.', ['She said "Stop."', 'Then "Go!"', "again."]),
        ("그는 “멈춰요.” 하고 말했다. 끝났다.", ["그는 “멈춰요.”", "하고 말했다.", "끝났다."]),
        ("试合开始。结束！", ["试合开始。", "结束！"]),  # full-width marks need no space
        ("Wait... what? Yes.", ["Wait...", "what?", "Yes."]),
        ("no mark at the end", ["no mark at the end"]),
        ("a wrapped\nline. Next\r\none.", ["a wrapped\nline.", "Next\r\none."]),
        ("one paragraph\n\nanother one", ["one paragraph", "another one"]),
        ("", []),
        ("... --- !!!", []),  # nothing is said
    ],
)
def test_prose(text, expected):
    assert of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# 경기 시간\n전반은 20분이다.", ["전반은 20분이다."]),
        ("### Time #\nText.\n## Next", ["Text."]),
        ("Title\n=====\nText.\n\nSecond\n---\nMore.", ["Text.", "More."]),
        ("**중요한 규칙**\n손을 쓰지 않는다.", ["손을 쓰지 않는다."]),  # a bold line alone is a heading
        ("**Do not** run. Walk.", ["**Do not** run.", "Walk."]),
        (
            "- 첫째다\n- 둘째다. 셋째다.\n* fourth\n1. fifth\n2) sixth\n① 일곱째",
            ["첫째다", "둘째다.", "셋째다.", "fourth", "fifth", "sixth", "일곱째"],
        ),
        ("- an item that\n  goes on. And on.", ["an item that\n  goes on.", "And on."]),
        ("> a quote. more", ["a quote.", "more"]),
        ("| a | b |\n|---|---|\n| 1 | 2 |\nText.", ["| a | b |", "| 1 | 2 |", "Text."]),
        ("```python\nx = 1\n```\nText.", ["x = 1", "Text."]),
        ("one\n\n---\n\ntwo", ["one", "two"]),
        ("#hashtag is a word.", ["#hashtag is a word."]),
    ],
)
def test_markdown(text, expected):
    assert of(text) == expected


@given(st.text(alphabet="ab가다요. \n\r.!?#-*|>`=\"'1)①。", max_size=60))
def test_places_are_in_order_and_tight(text):
    last = 0
    for start, end in sentences(text):
        assert last <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        last = end


@pytest.mark.parametrize(
    "text",
    ["." * 200_000, "A. " * 100_000, "- a\n" * 50_000, "**a" * 100_000, " " * 200_000 + "a", (".'" * 50 + "a") * 2000],
)
def test_time_grows_with_the_length_alone(text):
    started = time.process_time()
    list(sentences(text))
    assert time.process_time() - started < 2
