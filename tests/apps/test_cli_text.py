"""The sentences in two languages."""

import string
from pathlib import Path

import pytest

from apps.text import TEXTS, language, text
from chains.errors import UsageError


def fields(sentence):
    return sorted(name for _, name, _, _ in string.Formatter().parse(sentence) if name)


def test_both_languages_have_the_same_sentences_with_the_same_gaps():
    english, korean = TEXTS["en"], TEXTS["ko"]
    assert english.keys() == korean.keys()
    assert {key: fields(english[key]) for key in english} == {key: fields(korean[key]) for key in korean}


def test_every_korean_sentence_is_korean():
    assert [
        key for key, sentence in TEXTS["ko"].items() if not any("가" <= letter <= "힣" for letter in sentence)
    ] == []


def test_every_sentence_is_said_somewhere():
    apps = Path(__file__).parents[2] / "apps"
    code = "".join(file.read_text() for folder in ("cli", "ui") for file in (apps / folder).rglob("*.py")).replace(
        "'", '"'
    )
    assert [key for key in TEXTS["en"] if f'"{key}"' not in code] == []


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CHAINTUNE_LANG": "ko", "LANG": "en_US.UTF-8"}, "ko"),
        ({"LC_ALL": "en_US.UTF-8", "LANG": "ko_KR.UTF-8"}, "en"),  # LC_ALL stands above LANG
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({}, "en"),
    ],
)
def test_the_language_is_the_locale_unless_it_is_named(monkeypatch, environment, expected):
    for name in ("CHAINTUNE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language() == expected
    assert language("ko") == "ko"


def test_another_language_is_refused(monkeypatch):
    monkeypatch.setenv("CHAINTUNE_LANG", "jp")
    with pytest.raises(UsageError, match="'jp' is unknown"):
        language()


def test_gaps_are_filled():
    assert text("page_number", "ko", page=3) == "3쪽"
