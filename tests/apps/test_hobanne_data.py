"""The Hobanne data holds what the sample promises: 24 facts, in two languages, asked in 18 ways, each with its rule."""

import csv
import re
import unicodedata
from collections import defaultdict
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "apps" / "samples" / "hobanne" / "data"
HEADINGS = {"ko": r"^## 제(\d+)조 \S.*$", "en": r"^## Rule (\d+): \S.*$"}
LONGEST_ANSWER = {"ko": 60, "en": 90}  # characters
RULES = list(range(1, 25))


def read(name: str) -> str:
    return (DATA / name).read_bytes().decode("utf-8")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(read("qa.csv").splitlines(), strict=True))


@pytest.fixture(scope="module")
def answers(rows) -> dict[tuple[str, str], set[str]]:
    found = defaultdict(set)
    for row in rows:
        found[row["fact"], row["language"]].add(row["answer"])
    return found


def articles(language: str) -> list[str]:
    """[preamble, number, text, number, text, ...] of a rulebook."""
    return re.split(HEADINGS[language], read(f"rulebook.{language}.md"), flags=re.MULTILINE)


def bare(text: str) -> str:
    """Letters and digits alone: two questions that differ in punctuation only are one question."""
    return re.sub(r"[\W_]", "", text.casefold())


def test_every_row_has_the_five_columns_filled(rows):
    for row in rows:
        assert list(row) == ["fact", "language", "rule", "question", "answer"]
        assert all(value and value == value.strip() for value in row.values()), row


def test_each_of_24_facts_is_asked_18_times_in_both_languages(rows):
    counts = defaultdict(int)
    for row in rows:
        counts[row["fact"], row["language"]] += 1
    assert len({fact for fact, _ in counts}) == 24
    assert {language for _, language in counts} == {"ko", "en"}
    assert len(counts) == 48 and set(counts.values()) == {18}


def test_no_two_questions_are_the_same(rows):
    seen = [bare(row["question"]) for row in rows]
    assert len(set(seen)) == len(seen) == 864


def test_a_fact_has_one_answer_in_a_language_and_shares_it_with_no_other(answers):
    assert all(len(texts) == 1 for texts in answers.values())
    assert len(set.union(*answers.values())) == len(answers) == 48


def test_answers_are_short_complete_sentences(answers):
    for (_, language), (answer,) in answers.items():
        assert len(answer) <= LONGEST_ANSWER[language], answer
        assert answer.endswith("니다." if language == "ko" else "."), answer


def test_a_row_is_written_in_the_language_it_names(rows):
    for row in rows:
        for text in (row["question"], row["answer"]):
            assert bool(re.search("[가-힣]", text)) == (row["language"] == "ko"), text


@pytest.mark.parametrize("name", ["qa.csv", "rulebook.ko.md", "rulebook.en.md"])
def test_files_are_nfc_with_unix_line_ends(name):
    text = read(name)
    assert unicodedata.is_normalized("NFC", text)
    assert "\r" not in text and "\ufeff" not in text and text.endswith("\n")


def test_a_fact_has_one_rule_and_a_rule_one_fact(rows):
    pairs = {(row["fact"], int(row["rule"])) for row in rows}
    assert sorted(rule for _, rule in pairs) == RULES


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_rule_has_one_article_with_text(language):
    _, *parts = articles(language)
    assert [int(number) for number in parts[::2]] == RULES
    assert all(text.strip().endswith(".") for text in parts[1::2])


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_article_names_the_sport(language):
    name = {"ko": "호반느", "en": "Hobanne"}[language]
    assert all(name in text for text in articles(language)[2::2])


@pytest.mark.parametrize("language", ["ko", "en"])
def test_an_answer_repeats_the_numbers_of_its_article_and_not_its_sentence(rows, language):
    parts = articles(language)
    text = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
    for row in rows:
        if row["language"] == language:
            article = text[int(row["rule"])]
            assert set(re.findall(r"\d+", row["answer"])) <= set(re.findall(r"\d+", article)), row
            assert row["answer"] not in article
