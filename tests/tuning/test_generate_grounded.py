"""Questions from passages: what is kept, what is dropped and why."""

import json
import random

import pytest

from chains import load_model
from chains.models.fake import FakeChat
from tests import tiny
from tuning.generate import grounded
from tuning.generate.ask import Asker
from tuning.generate.journal import Journal

TEXT = "The court is twelve steps long\nand six wide. Each side has 3 players, who may not run."
KOREAN = "호반느의 코트는 길이가 열두 걸음이고 너비가 여섯 걸음입니다. 한 편은 3명입니다."


def said(question, answer, quote):
    return json.dumps({"question": question, "answer": answer, "quote": quote}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("question", "answer", "quote", "expected"),
    [
        ("How long is the court?", "It is twelve steps long.", "The court is twelve steps long", None),
        ("How large is it?", "Twelve steps long, six wide.", "twelve steps long and six wide", None),  # a break is a space
        ("How long is the court?", "It is twelve steps long.", "The court is 12 steps long", "quote not in the passage"),
        ("How long is the court?", "It is twelve steps long.", "twelve", "quote not in the passage"),  # too short to tell
        ("How many players?", "There are 5 players.", "Each side has 3 players", "number not in the quote"),
        ("Who plays?", "Professionals hired by clubs.", "Each side has 3 players", "answer not in the quote"),
        ("May they run?", "They run.", "who may not run", "answer not in the quote"),  # nothing of its own
        ("According to the passage, how long is it?", "Twelve steps.", "is twelve steps long", "question points at the passage"),
        ("", "Twelve steps.", "is twelve steps long", "empty"),
    ],
)  # fmt: skip
def test_why_an_answer_is_kept_or_not(question, answer, quote, expected):
    assert grounded.fault(TEXT, question, answer, quote) == expected


@pytest.mark.parametrize(
    ("question", "answer", "quote", "expected"),
    [
        (
            "호반느 코트의 길이는?",
            "코트 길이는 열두 걸음입니다.",
            "코트는 길이가 열두 걸음이고",
            None,
        ),  # other particles and endings
        ("한 편은 몇 명인가요?", "4명입니다.", "한 편은 3명입니다", "number not in the quote"),
        ("위 글에서 코트의 길이는?", "열두 걸음", "길이가 열두 걸음이고", "question points at the passage"),
        ("누가 뛰나요?", "전문 선수들이 뜁니다.", "길이가 열두 걸음이고", "answer not in the quote"),
    ],
)
def test_why_a_korean_answer_is_kept_or_not(question, answer, quote, expected):
    assert grounded.fault(KOREAN, question, answer, quote) == expected


def test_the_share_of_the_answers_own_words():
    # of «twelve», «steps», «wide» (the others are the question's) the quote has two
    assert grounded.support(
        "The court is twelve steps wide", "twelve steps long", "What is the court?"
    ) == pytest.approx(2 / 3)


def test_json_is_found_between_other_words():
    reply = 'Sure {here}: ```json\n{"question": " Q? ", "answer": "A", "quote": "B {c}"}\n``` bye }'
    assert grounded.parsed(reply) == ("Q?", "A", "B {c}")
    assert grounded.parsed('{"question": "Q?", "answer": 3, "quote": "x"}') is None
    assert grounded.parsed('{"question": "Q?", "answer": "cut o') is None


def passages():
    return [
        grounded.Passage(TEXT, "en.md", 100, 100 + len(TEXT), "Court", 2),
        grounded.Passage(KOREAN, "ko.md", 0, len(KOREAN)),
    ]


def fake(*answers):
    return Asker(FakeChat(list(answers)))


GOOD_EN = said("How long is the court?", "Twelve steps.", "court is twelve steps long and six")
GOOD_KO = said("호반느 코트의 길이는?", "열두 걸음입니다.", "길이가 열두 걸음이고")


def test_a_row_has_the_source_and_the_verbatim_place(tmp_path):
    asker = fake(GOOD_EN, GOOD_EN)
    with Journal(tmp_path / "o.jsonl", {}) as journal:
        made = grounded.make(asker, passages()[:1], journal, 1, system="Be brief.")
    (row,) = made.rows
    assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant"]
    about = row["metadata"]
    assert about["quote"] == "court is twelve steps long\nand six"  # as the passage has it, its break included
    assert (about["source"], about["page"], about["heading"]) == ("en.md", 2, "Court")
    assert TEXT[about["start"] - 100 : about["end"] - 100] == about["quote"]
    assert "twelve steps long" in asker.llm.prompts[0][0].text and asker.llm.prompts[0][0].text.startswith("Read")


def test_the_prompt_speaks_the_passages_language_and_its_braces_stay_text():
    (message,) = grounded.prompt(grounded.Passage("가나다 {heading} {passage} 라마바", "a", 0, 9))
    assert "{heading} {passage}" in message["content"] and message["content"].startswith("아래 글을 읽고")


def test_a_passage_is_asked_again_for_another_question_until_a_round_brings_none(tmp_path):
    asker = fake(GOOD_EN, "no")
    with Journal(tmp_path / "o.jsonl", {}) as journal:
        made = grounded.make(asker, passages()[:1], journal, 9, at_once=1)
    assert (len(made.rows), made.asked, dict(made.dropped)) == (1, 2, {"no JSON": 1})
    assert "Ask something else than: How long is the court?" in asker.llm.prompts[1][0].text


def test_a_question_that_was_asked_before_is_dropped(tmp_path):
    with Journal(tmp_path / "o.jsonl", {}) as journal:
        made = grounded.make(fake(GOOD_EN), [passages()[0]] * 3, journal, 3)
    assert len(made.rows) == 1 and made.dropped["asked before"] >= 2


def test_what_was_cut_off_goes_on_to_the_same_rows(tmp_path):
    answers = [GOOD_KO, GOOD_EN] if random.Random(0).sample(range(2), 2)[0] == 1 else [GOOD_EN, GOOD_KO]
    with Journal(tmp_path / "whole.jsonl", {}) as journal:
        whole = grounded.make(fake(*answers), passages(), journal, 2, at_once=1)
    with Journal(tmp_path / "o.jsonl", {}) as journal:
        grounded.make(fake(*answers), passages(), journal, 1, at_once=1)
    second = fake(answers[1])
    with Journal(tmp_path / "o.jsonl", {}) as journal:
        again = grounded.make(second, passages(), journal, 2, at_once=1)
    assert again.rows == whole.rows and len(again.rows) == 2
    assert len(second.llm.prompts) == 1  # what was paid for is not asked again
    assert second.usage.input_tokens > 0 and second.usage.output_tokens > 5


def test_a_model_that_runs_here_writes_by_the_schema(tmp_path):
    tiny.starter()
    llm = load_model("starter")
    (mark,) = tiny.words().encode('"', add_special_tokens=False)
    asked = grounded.prompt(grounded.Passage("The court is wide.", "a.md", 0, 18))[:1]
    short = [{**asked[0], "content": asked[0]["content"][:40]}]
    settings = {"logit_bias": {mark: 100.0}, "max_tokens": 60}
    (free,) = Asker(llm).ask([short], [1], **settings)
    (formed,) = Asker(llm).ask([short], [1], grounded.SCHEMA, **settings)
    assert grounded.parsed(free.text) is None
    assert grounded.parsed(formed.text) == ("", "", "")


def test_a_passage_that_the_model_cannot_read_is_counted_and_the_work_goes_on(tmp_path):
    tiny.starter()
    passages = [
        grounded.Passage("word " * 400, "a.md", 0, 2000),
        grounded.Passage("The court is wide.", "a.md", 2000, 2018),
    ]
    with Journal(tmp_path / "o", {}) as journal:
        made = grounded.make(Asker(load_model("starter")), passages, journal, 4, at_once=1)
    assert made.asked == 2 and made.dropped["longer than the model's context"] >= 1
