"""The old preparation tool's decisions on tables worked out by hand; tests/tuning/test_prepare_peer.py compares with the tool itself."""

import csv
import json

import pytest

from chains.errors import UsageError
from tuning.prepare import CLASSIFICATION, CONDITIONAL, OPEN_ENDED, analyse, task_type, write
from tuning.prepare.affixes import choose_separator, choose_stop


def table(tmp_path, rows, header=("prompt", "completion"), name="data.csv"):
    path = tmp_path / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def prepared(path, separator=None, stop=None, refuse=()):
    examples, _ = analyse(path, separator, stop).apply(lambda offer: offer.note.code not in refuse)
    written = write(examples, path, task_type(examples) == CLASSIFICATION)
    return [json.loads(line) for file in written.files for line in file.read_text().splitlines()], written


def test_the_course_example_gets_arrow_and_end(tmp_path):
    rows = [("18, man, invisibility", "\n\nHe is slim. He is 18."), ("30, woman, flight", "\n\nShe flies. She is 30.")]
    found, written = prepared(table(tmp_path, rows), refuse={"drop_completion_prefix"}, stop=" END")
    assert found[0] == {"prompt": "18, man, invisibility ->", "completion": " \n\nHe is slim. He is 18. END"}
    assert written.files == [tmp_path / "data_prepared.jsonl"]


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        (["a", "b"], " ->"),
        (["a\nb", "c"], "\n\n###\n\n"),  # the arrow is for prompts of one line
        (["a -> b", "c"], "\n\n###\n\n"),
        (["a -> b\n\n###\n\n", "\n\n===\n\n", "\n\n---\n\n", "\n\n===>\n\n", "\n\n--->\n\n"], "\n\n### =>\n\n"),
    ],
)
def test_the_separator_is_the_first_that_no_prompt_has(prompts, expected):
    assert choose_separator(prompts) == expected


@pytest.mark.parametrize(
    ("completions", "expected"),
    [
        (["one", "two."], "\n"),
        (["one\nline", "two"], "."),
        (["one\nline", "two."], " END"),
        (["\n", ". END *** +++ &&& $$$ @@@ %%%"], " [END]"),
    ],
)
def test_the_stop_is_the_first_that_no_completion_has(completions, expected):
    assert choose_stop(completions) == expected


def test_what_the_examples_teach(tmp_path):
    def kind(rows):
        return task_type(analyse(table(tmp_path, rows)).examples)

    assert kind([("", "a"), ("", "b")]) == OPEN_ENDED
    assert kind([(f"p{n}", "ab"[n % 2]) for n in range(7)]) == CLASSIFICATION  # 2 < 7/3
    assert kind([(f"p{n}", "ab"[n % 2]) for n in range(6)]) == CONDITIONAL  # 2 is not less than 6/3


def test_an_own_separator_and_stop_are_added_unless_they_are_there(tmp_path):
    found, _ = prepared(table(tmp_path, [("a", "x"), ("b", "y")]), separator=" =>", stop=" 끝")
    assert found == [{"prompt": "a =>", "completion": " x 끝"}, {"prompt": "b =>", "completion": " y 끝"}]
    again, _ = prepared(table(tmp_path, [("a =>", " x"), ("b =>", " y")], name="b.csv"), separator=" =>", stop=" 끝")
    assert again == found


def test_a_completion_that_loses_all_its_text_is_named(tmp_path):
    rows = [(f"p{n}", "Answer" if n % 2 else "Answer: yes") for n in range(12)]
    with pytest.raises(UsageError, match=r"row 1: .*completion is empty"):
        prepared(table(tmp_path, rows))


def test_long_rows_after_removed_ones_are_an_error_with_a_way_out(tmp_path):
    rows = [("a", ""), ("b", "one"), ("c", "two " * 4000)]  # the row at place 1 of what is left has the label 2
    path = table(tmp_path, rows)
    examples, _ = analyse(path).apply(lambda offer: offer.note.code == "drop_long")
    assert [e.prompt for e in examples] == ["c"]  # as the old tool: the label 1 goes, which is another row
    with pytest.raises(UsageError, match="cannot be removed once other rows were"):
        analyse(table(tmp_path, [("a", ""), ("b", "x" * 10001), ("c", "y")])).apply(lambda offer: True)


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([("a", "b")], ("prompt", "answer"), "no column 'completion'; the file has 'prompt', 'answer'"),
        ([("a", "x"), ("a", "y")], ("prompt", "completion"), "all prompts are 'a'"),
        ([("a", "x"), ("b", "x")], ("prompt", "completion"), "all completions are 'x'"),
    ],
)
def test_what_cannot_be_prepared_is_said(tmp_path, rows, header, message):
    with pytest.raises(UsageError, match=message):
        analyse(table(tmp_path, rows, header))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.txt2", "extension '.txt2' is unknown"),
        ("b.xlsx", "cannot be opened|not valid XLSX"),
        ("c.json", "not valid JSON"),
    ],
)
def test_a_file_that_is_not_what_it_says(tmp_path, name, message):
    (tmp_path / name).write_text("{nothing")
    with pytest.raises(UsageError, match=message):
        analyse(tmp_path / name)


def test_no_prepared_file_is_overwritten(tmp_path):
    path = table(tmp_path, [("a", "x"), ("b", "y")])
    assert prepared(path)[1].files[0].name == "data_prepared.jsonl"
    assert prepared(path)[1].files[0].name == "data_prepared (1).jsonl"
