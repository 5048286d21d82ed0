"""Training data: every bad line is named with its place and a way out, good data comes back as it was written, and a split is fair."""

import json

import pytest

from chains.errors import UsageError
from tests import tiny
from tuning import formats
from tuning.conversations import chat_rows

GOOD = tiny.chat("what?", "that.")
RANKED = tiny.ranking("what?", ["that.", "this.", "those."], [1, 2, 2])


def message(role, content, **more):
    return {"role": role, "content": content, **more}


def chat_of(*messages):
    return {"messages": list(messages)}


def error_of(read, path):
    """Return the sentence that reading `path` ends with, which is one line."""
    with pytest.raises(UsageError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b'["a"]', 'the line is JSON but no object; expected {"messages": […]}'),
        (b'{"messages": "\xff"}', "the line is not UTF-8; save the file as UTF-8"),
        ("질문".encode("euc-kr"), "the line is not UTF-8; save the file as UTF-8"),
        (
            {"messages": []},
            'messages: is missing or empty; expected {"messages": [{"role": "user", "content": "…"}, …]}',
        ),
        ({"messages": ["hi"]}, 'messages[0]: is no object; expected {"role": …, "content": …}'),
        (
            chat_of(message("user", "a"), message("bot", "b")),
            "messages[1].role: 'bot' is unknown; use 'user' or 'assistant'",
        ),
        (chat_of({"content": "a"}), "messages[0].role: None is unknown; use 'user' or 'assistant'"),
        (chat_of(message("user", "  ")), "messages[0].content: is empty or no text; write what was said"),
        (chat_of(message("user", None)), "messages[0].content: is empty or no text; write what was said"),
        (
            chat_of(message("user", "a")),
            "messages: no message is the assistant's; end the row with the answer to learn",
        ),
        (
            chat_of(message("assistant", "a")),
            "messages[0]: the assistant speaks first; put a user or system message before it",
        ),
        (
            chat_of(message("user", "a"), message("assistant", "b", weight=0)),
            "messages: nothing here is learned; add an assistant message, or give one weight 1",
        ),
        (
            chat_of(message("user", "a"), message("assistant", "b", weight=0.5)),
            "messages[1].weight: 0.5 is no weight; use 0 or 1",
        ),
    ],
)
def test_a_bad_chat_line_is_named(tmp_path, line, sentence):
    raw = line if isinstance(line, bytes) else json.dumps(line).encode()
    path = tmp_path / "d.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n\n" + raw + b"\n")
    assert error_of(formats.read_chat, path) == f"{path}:3: {sentence}"
    report = formats.check(path)
    assert not report.good and str(report.findings[0]) == f"{path}:3: {sentence}"


def test_a_line_that_is_not_json_is_named_with_its_column(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(GOOD) + "\n{not json}\n")
    sentence = error_of(formats.read_chat, path)
    assert sentence.startswith(f"{path}:2: the line is not JSON (")
    assert sentence.endswith(" at column 2); write one JSON object a line")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"input": "what?"},
            'input: is of type text; expected {"input": {"messages": […]}, "outputs": […]}',
        ),
        ({"input": {"messages": []}}, "input.messages: is missing or empty; expected"),
        ({"input": GOOD}, "input.messages: the prompt ends with the assistant's message; end it with the user's"),
        ({"outputs": None}, "outputs: holds fewer than two answers; give 2 to 9 answers, each with its rank"),
        ({"outputs": RANKED["outputs"][:1]}, "outputs: holds fewer than two answers;"),
        ({"outputs": ["a", "b"]}, 'outputs[0]: is no object; expected {"messages": […], "rank": 1}'),
        (
            {"outputs": [RANKED["outputs"][0], {**RANKED["outputs"][1], "rank": "2"}]},
            "outputs[1].rank: '2' is no rank; use a whole number from 1, the best; equal ranks are a tie",
        ),
        ({"outputs": [RANKED["outputs"][0], {**RANKED["outputs"][1], "rank": 0}]}, "outputs[1].rank: 0 is no rank;"),
        ({"outputs": [RANKED["outputs"][0], {**RANKED["outputs"][1], "rank": True}]}, "outputs[1].rank: True is no"),
        (
            {"outputs": [RANKED["outputs"][0], {"messages": [message("user", "x")], "rank": 2}]},
            "outputs[1].messages: is no single answer; give one message of role 'assistant'",
        ),
        (
            {"outputs": [{**output, "rank": 3} for output in RANKED["outputs"]]},
            "outputs: all answers have the same rank; rank at least one above another, or remove the row",
        ),
    ],
)
def test_a_bad_ranking_is_named(tmp_path, change, sentence):
    path = tiny.write(tmp_path / "r.jsonl", [RANKED, {**RANKED, **change}])
    assert error_of(formats.read_rankings, path).startswith(f"{path}:2: {sentence}")


@pytest.mark.parametrize("read", [formats.read_chat, formats.read_rankings, formats.read_prompts])
def test_a_file_without_rows_or_without_being_is_refused(tmp_path, read):
    path = tmp_path / "d.jsonl"
    assert error_of(read, path).startswith(f"cannot read {path}: No such file or directory; ")
    path.write_text("\n \n")
    assert error_of(read, path).startswith(f"{path} holds no rows; ")
    assert not formats.check(path).good


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert formats.read_chat(path) == [GOOD]


def test_rows_come_back_as_they_were_written(tmp_path):
    rows = [tiny.chat("몇 명이 뛰나요?\t\\n", "여섯 명\n\u2028\U0001f3d0"), GOOD]
    path = tmp_path / "deep" / "d.jsonl"
    assert formats.write(path, iter(rows)) == 2
    assert formats.read_chat(path) == rows
    assert path.read_bytes().count(b"\n") == 2


def test_a_row_that_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "d.jsonl"
    formats.write(path, [GOOD])
    with pytest.raises(TypeError):
        formats.write(path, [RANKED, {"messages": object()}])
    assert formats.read_chat(path) == [GOOD]
    assert [file.name for file in tmp_path.iterdir()] == ["d.jsonl"]


def test_place_counts_the_lines_that_hold_no_row(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text("\n{}\n\n\n{}\n")
    assert [formats.place(path, index) for index in (0, 1)] == [f"{path}:2", f"{path}:5"]


def test_prompts_are_what_stands_before_the_last_answer(tmp_path):
    long = chat_of(message("user", "a"), message("assistant", "b"), message("user", "c"), message("assistant", "d"))
    path = tiny.write(tmp_path / "p.jsonl", [long, chat_of(message("user", "e")), RANKED])
    assert formats.read_prompts(path) == [long["messages"][:3], [message("user", "e")], RANKED["input"]["messages"]]
    path = tiny.write(tmp_path / "q.jsonl", [GOOD, chat_of(message("assistant", "b"))])
    assert error_of(formats.read_prompts, path) == (
        f"{path}:2: the prompt is empty; put a user message before the answer"
    )
    path = tiny.write(tmp_path / "q.jsonl", [{"input": {"messages": ["x"]}}])
    assert error_of(formats.read_prompts, path).startswith(f"{path}:1: input.messages[0]: is no object")


def test_check_sees_every_problem_and_warns_of_what_is_unwise(tmp_path):
    middle = chat_of(message("user", "a"), message("system", "s"), message("assistant", "b"))
    two_wrongs = chat_of(message("bot", "a"), message("user", ""))
    report = formats.check(tiny.write(tmp_path / "d.jsonl", [GOOD, middle, two_wrongs, GOOD]))
    seen = [(finding.line, finding.field, finding.level) for finding in report.findings]
    assert seen == [
        (2, "messages[1]", "warning"),
        (3, "messages[0].role", "error"),
        (3, "messages[1].content", "error"),
        (4, "", "warning"),
        (0, "", "error"),
    ]
    assert "the row is the same as line 1" in str(report.findings[3])
    assert (report.rows, report.good, report.as_json()["findings"][0]["line"]) == (4, False, 2)
    rankings = formats.check(tiny.write(tmp_path / "r.jsonl", [RANKED] * 10))
    assert (rankings.format, rankings.good) == ("rankings", True)


def test_a_table_becomes_chat_rows(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(
        '\ufeff질문,번호,답변\r\n"몇 명, 뛰나요?",1,"여섯 ""명""\r\n입니다"\r\n 둘째\u2028줄 ,2,네\r\n'.encode()
    )
    rows = chat_rows(path, "질문", "답변", system="짧게")
    assert rows == [
        chat_of(message("system", "짧게"), *tiny.chat("몇 명, 뛰나요?", '여섯 "명"\n입니다')["messages"]),
        chat_of(message("system", "짧게"), *tiny.chat("둘째\u2028줄", "네")["messages"]),
    ]
    tabbed = tmp_path / "t.tsv"
    tabbed.write_text("question\tanswer\na, b\tc\n")
    assert chat_rows(tabbed) == [tiny.chat("a, b", "c")]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (
            b"question,anwser\na,b\n",
            "{path}: which column holds the answers is not clear; the header has 'question', 'anwser'; name it with --answer-column; did you mean 'anwser'?",
        ),
        (b"", "{path} holds no rows; give a header, and questions and answers under it"),
        (b"question,answer\n", "{path} holds no rows; give a header, and questions and answers under it"),
        (b"question,answer\na,b\nc,\n", "{path}:3: column 'answer' is empty; fill it in or remove the row"),
        (b"question,answer\na,b\nc\n", "{path}:3: column 'answer' is empty; fill it in or remove the row"),
        (
            b'question,answer\na,"b\nc"\n"d\ne",\n',  # rows of two lines: the place is where the row begins
            "{path}:4: column 'answer' is empty; fill it in or remove the row",
        ),
        (
            b"question,answer\na,yes, of course\n",
            "{path}:2: the row has more cells than the header; put a cell that holds ',' in double quotes",
        ),
        (
            b'question,answer\na,"b\nc,d\n',
            "{path}:2: the table cannot be read (unexpected end of data); save it as CSV again",
        ),
        ("질문,답".encode("euc-kr"), "{path} is not UTF-8 (byte 0); save the table as UTF-8 and try again"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, raw, sentence):
    path = tmp_path / "t.csv"
    path.write_bytes(raw)
    assert error_of(chat_rows, path) == sentence.format(path=path)


def test_a_table_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "t.csv"
    assert error_of(chat_rows, path).startswith(f"cannot read {path}: No such file or directory; ")


def test_empty_cells_beyond_the_header_are_nothing(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("question,answer\na,b,,\n")
    assert chat_rows(path) == [tiny.chat("a", "b")]
