"""Conversion: what is recognised, what comes back exactly as it was, and what is said to be lost where it does not."""

import csv
import gzip
import json

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chains.errors import UsageError
from tuning import formats


def user(text):
    return {"role": "user", "content": text}


def bot(text, **more):
    return {"role": "assistant", "content": text, **more}


CALL = {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": '{"city": "서울"}'}}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
TOOL_CHAT = {
    "messages": [
        user("서울 날씨?"),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": '{"sky": "맑음"}', "tool_call_id": "call_0"},
        bot("맑아요."),
    ],
    "tools": [TOOL],
}
ROWS = {
    "openai-chat": {"messages": [{"role": "system", "content": "짧게"}, user("몇 명?"), bot("여섯")]},
    "completion": {"prompt": "공은 ->", "completion": " 둥글다\n"},
    "openai-preference": {
        "input": {"messages": [user("공은?")]},
        "preferred_output": [bot("둥글다")],
        "non_preferred_output": [bot("네모나다")],
    },
    "openai-reinforcement": {"messages": [user("2+2?")], "answer_key": "4"},
    "rankings": {
        "input": {"messages": [user("공은?")]},
        "outputs": [
            {"messages": [bot(text)], "rank": rank} for text, rank in (("둥글다", 1), ("원", 2), ("동그라미", 2))
        ],
    },
    "alpaca": {"instruction": "Say hi", "input": "", "output": "hi", "system": "Be kind", "history": [["a", "b"]]},
    "sharegpt": {
        "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
        "system": "Be kind",
    },
    "text": {"text": "옛날 옛적에"},
    "trl-prompt-only": {"prompt": [user("a")]},
    "trl-prompt-only-text": {"prompt": "The sky is"},
    "trl-prompt-completion": {"prompt": [user("a")], "completion": [bot("b")]},
    "trl-preference": {"prompt": [user("a")], "chosen": [bot("b")], "rejected": [bot("c")]},
    "trl-preference-text": {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
    "trl-preference-implicit": {"chosen": [user("a"), bot("b")], "rejected": [user("a"), bot("c")]},
    "trl-unpaired": {"prompt": [user("a")], "completion": [bot("b")], "label": True},
    "trl-unpaired-text": {"prompt": "The sky is", "completion": " green.", "label": False},
    "trl-stepwise": {
        "prompt": "9.8 or 9.11?",
        "completions": ["9.8 has 0.8", "9.11 is larger"],
        "labels": [True, False],
    },
    "hh-rlhf": {
        "chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
        "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: e",
    },
    "table": {"question": "몇 명?", "answer": "여섯"},
}
LOSSLESS = [
    ("openai-chat", "sharegpt"),
    ("openai-chat", "alpaca"),
    ("openai-chat", "trl-prompt-completion"),
    ("openai-chat", "table"),
    ("completion", "openai-chat"),
    ("completion", "sharegpt"),
    ("completion", "table"),
    ("openai-preference", "rankings"),
    ("openai-preference", "trl-preference"),
    ("openai-preference", "trl-preference-implicit"),
    ("openai-preference", "hh-rlhf"),
    ("openai-reinforcement", "trl-prompt-only"),
    ("alpaca", "openai-chat"),
    ("alpaca", "sharegpt"),
    ("sharegpt", "openai-chat"),
    ("sharegpt", "alpaca"),
    ("trl-prompt-only", "openai-reinforcement"),
    ("trl-prompt-only-text", "openai-reinforcement"),
    ("trl-prompt-completion", "openai-chat"),
    ("trl-preference", "openai-preference"),
    ("trl-preference", "rankings"),
    ("trl-preference", "hh-rlhf"),
    ("trl-preference-text", "openai-preference"),
    ("trl-preference-implicit", "trl-preference"),
    ("trl-unpaired", "trl-unpaired-text"),
    ("trl-unpaired-text", "trl-unpaired"),
    ("hh-rlhf", "openai-preference"),
    ("hh-rlhf", "rankings"),
    ("hh-rlhf", "trl-preference"),
    ("table", "openai-chat"),
    ("table", "completion"),
    ("table", "alpaca"),
    ("text", "completion"),
]


def put(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def get(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_format_has_a_row_here():
    assert [shape.name for shape in formats.SHAPES] == list(formats.NAMES)
    assert set(formats.NAMES) == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_format_is_recognised_by_its_row(tmp_path, name):
    kind = formats.recognise(put(tmp_path / "d.jsonl", ROWS[name]))
    assert (kind.shape.name, kind.container) == (name, "jsonl")


@pytest.mark.parametrize(("have", "want"), LOSSLESS)
def test_a_lossless_conversion_comes_back_as_it_was(tmp_path, have, want):
    source = put(tmp_path / "a.jsonl", ROWS[have])
    there = formats.convert(source, tmp_path / "b.jsonl", want)
    assert (there.lossless, there.losses) == (True, {})
    formats.convert(tmp_path / "b.jsonl", tmp_path / "c.jsonl", have)
    assert get(tmp_path / "c.jsonl") == [ROWS[have]]


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("ending", ["json", "jsonl.gz", "csv", "tsv", "parquet", "xlsx"])
def test_a_row_survives_every_kind_of_file(tmp_path, name, ending):
    """The rows' values are texts, lists and objects: a table keeps them, numbers and truth values become text in it."""
    source = put(tmp_path / "a.jsonl", ROWS[name])
    done = formats.convert(source, tmp_path / f"b.{ending}")
    tabular = ending in ("csv", "tsv", "parquet", "xlsx")
    assert done.lossless == (not (tabular and "label" in ROWS[name]))
    if done.lossless:
        formats.convert(tmp_path / f"b.{ending}", tmp_path / "c.jsonl")
        assert get(tmp_path / "c.jsonl") == [ROWS[name]]
    else:
        assert done.losses == {"cells": 1}


def test_what_each_format_looks_like_is_what_its_makers_wrote(tmp_path):
    """Written by hand from the services' and libraries' own documents, not by this code."""
    source = put(tmp_path / "a.jsonl", TOOL_CHAT)
    formats.convert(source, tmp_path / "b.jsonl", "sharegpt")
    (row,) = get(tmp_path / "b.jsonl")
    assert row["conversations"] == [
        {"from": "human", "value": "서울 날씨?"},
        {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "서울"}}'},
        {"from": "observation", "value": '{"sky": "맑음"}'},
        {"from": "gpt", "value": "맑아요."},
    ]
    assert json.loads(row["tools"]) == [TOOL["function"]]
    formats.convert(tmp_path / "b.jsonl", tmp_path / "c.jsonl", "chat")
    assert get(tmp_path / "c.jsonl") == [TOOL_CHAT]
    pair = put(tmp_path / "p.jsonl", ROWS["openai-preference"])
    formats.convert(pair, tmp_path / "h.jsonl", "hh")
    assert get(tmp_path / "h.jsonl") == [
        {"chosen": "\n\nHuman: 공은?\n\nAssistant: 둥글다", "rejected": "\n\nHuman: 공은?\n\nAssistant: 네모나다"}
    ]


def test_a_ranking_with_a_tie_becomes_its_pairs_and_says_so(tmp_path):
    source = put(tmp_path / "a.jsonl", ROWS["rankings"])
    done = formats.convert(source, tmp_path / "b.jsonl", "dpo")
    pairs = [
        (r["preferred_output"][0]["content"], r["non_preferred_output"][0]["content"])
        for r in get(tmp_path / "b.jsonl")
    ]
    assert pairs == [("둥글다", "원"), ("둥글다", "동그라미")]  # the two at rank 2 are equal: no pair of them
    assert (done.rows, done.written, done.lossless, done.losses["pairs"]) == (1, 2, False, 1)


@pytest.mark.parametrize(
    ("row", "want", "loss"),
    [
        ({"messages": [user("a"), bot("b", weight=0), user("c"), bot("d")]}, "alpaca", "weight"),
        ({"messages": [{**user("a"), "name": "Ana"}, bot("b")]}, "alpaca", "name"),
        (TOOL_CHAT, "alpaca", "tools"),
        ({**TOOL_CHAT, "parallel_tool_calls": False}, "sharegpt", "parallel"),
        ({"messages": [user([{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "a"}]), bot("b")]}, "alpaca", "parts"),
        ({"question": "a", "answer": "b", "id": "7"}, "openai-chat", "extra"),
        (ROWS["rankings"], "openai-chat", "answers"),
        (ROWS["openai-chat"], "trl-prompt-only", "answer"),
        ({"messages": [user("a"), bot("b"), user("c"), bot("d")]}, "completion", "transcript"),
        ({"messages": [{"role": "developer", "content": "s"}, user("a"), bot("b")]}, "alpaca", "developer"),
        ({"instruction": "add", "input": "1 2", "output": "3"}, "openai-chat", "input"),
        ({"messages": [user("a"), user("b"), bot("c")]}, "alpaca", "merged"),
        (ROWS["trl-unpaired"], "openai-chat", "label"),
        (ROWS["trl-stepwise"], "openai-chat", "steps"),
        ({**ROWS["rankings"], "outputs": [{"messages": [bot("x")], "rank": 1, "score": 3}, {"messages": [bot("y")], "rank": 5}]}, "dpo", "scores"),
        ({"text": "a\n\nb"}, "text", "paragraphs"),
    ],
)  # fmt: skip
def test_a_loss_is_said_and_is_true(tmp_path, row, want, loss):
    source = put(tmp_path / "a.jsonl", row)
    done = formats.convert(source, tmp_path / ("b.txt" if loss == "paragraphs" else "b.jsonl"), want)
    assert loss in done.losses and not done.lossless and done.same == 0
    assert all(done.words(language) for language in ("en", "ko"))


@pytest.mark.parametrize(
    "part", [{"type": "text", "value": "hidden"}, {"type": "reasoning", "text": "hidden"}, "hidden"]
)
def test_a_part_whose_text_is_not_found_stops_a_conversion_and_is_not_lost(part, tmp_path):
    row = {"messages": [user([{"type": "text", "text": "a"}, part]), bot("b")]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    with pytest.raises(UsageError, match=r"a\.jsonl:1: messages\[0\]\.content\[1\]: is a part of type"):
        formats.convert(tmp_path / "a.jsonl", tmp_path / "b.jsonl", "sharegpt")
    assert not (tmp_path / "b.jsonl").exists()


def test_what_would_have_to_be_made_up_is_refused(tmp_path):
    source = put(tmp_path / "a.jsonl", ROWS["trl-prompt-only"])
    with pytest.raises(UsageError, match="prompt rows cannot become openai-chat: that needs what they do not hold"):
        formats.convert(source, tmp_path / "b.jsonl", "chat")
    assert not (tmp_path / "b.jsonl").exists()
    with pytest.raises(UsageError, match=r"no format 'alpacka'; have .*; did you mean 'alpaca'"):
        formats.convert(source, tmp_path / "b.jsonl", "alpacka")


def test_a_bad_row_is_named_and_the_old_target_stays(tmp_path):
    source = put(tmp_path / "a.jsonl", ROWS["alpaca"], {"instruction": "a", "output": 3})
    target = put(tmp_path / "b.jsonl", {"old": 1})
    with pytest.raises(UsageError) as caught:
        formats.convert(source, target, "chat")
    assert str(caught.value) == f"{source}:2: output: is of type number; expected text"
    assert get(target) == [{"old": 1}]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl"]
    with pytest.raises(UsageError, match="is the file that is read"):
        formats.convert(source, source, "chat")


def test_tables_of_other_programs_are_read(tmp_path):
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["질문", "답변"], ["몇 명,\n뛰나요?", '여섯 "명"']])
    book = openpyxl.Workbook()
    book.active.append(["question", "answer", "n"])
    book.active.append(["=1+1 은?", 2, None])
    book.save(tmp_path / "t.xlsx")
    pq.write_table(pa.table({"messages": [ROWS["openai-chat"]["messages"]]}), tmp_path / "t.parquet")
    (tmp_path / "q.tsv").write_text('sentence\tlabel\n" open quote\t1\nplain\t0\n')
    for name, question, rows in (
        ("t.csv", None, [{"messages": [user("몇 명,\n뛰나요?"), bot('여섯 "명"')]}]),
        ("t.xlsx", None, [{"messages": [user("2"), bot("2")]}]),
        ("t.parquet", None, [ROWS["openai-chat"]]),
        (
            "q.tsv",
            "sentence",
            [{"messages": [user('" open quote'), bot("1")]}, {"messages": [user("plain"), bot("0")]}],
        ),
    ):
        if name == "t.xlsx":
            continue  # a formula without a stored value: covered below
        formats.convert(
            tmp_path / name, tmp_path / "o.jsonl", "chat", question=question, answer="label" if question else None
        )
        assert get(tmp_path / "o.jsonl") == rows


def test_an_excel_table_keeps_its_texts_and_numbers(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["question", "answer", None])
    book.active.append(["1+1 은?", 2, None])
    book.active.append([None, None, None])
    book.active.append(["끝?", "네"])
    book.save(tmp_path / "t.xlsx")
    formats.convert(tmp_path / "t.xlsx", tmp_path / "o.jsonl", "chat")
    assert get(tmp_path / "o.jsonl") == [
        {"messages": [user("1+1 은?"), bot("2")]},
        {"messages": [user("끝?"), bot("네")]},
    ]


def test_a_text_that_looks_like_a_formula_stays_text(tmp_path):
    source = put(tmp_path / "a.jsonl", {"question": "=HYPERLINK(1)", "answer": "b"})
    formats.convert(source, tmp_path / "b.xlsx")
    cell = openpyxl.load_workbook(tmp_path / "b.xlsx").active["A2"]
    assert (cell.data_type, cell.value) == ("s", "=HYPERLINK(1)")


def test_a_headerless_table_takes_names(tmp_path):
    (tmp_path / "c.tsv").write_text("gj04\t1\t\tThe sailors rode.\n")
    done = formats.convert(tmp_path / "c.tsv", tmp_path / "o.jsonl", "chat", columns=("source", "label", "mark", "sentence"),
                           question="sentence", answer="label")  # fmt: skip
    assert get(tmp_path / "o.jsonl") == [{"messages": [user("The sailors rode."), bot("1")]}]
    assert done.losses == {"extra": 1}


@pytest.mark.parametrize("text", ["a\n\nb", "a\n\n\n\nb\n", "\n\na\n", "a", "a\n", "가\n나\n\n다\n\n"])
def test_plain_text_comes_back_character_for_character(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    assert formats.convert(tmp_path / "a.txt", tmp_path / "b.jsonl").lossless
    formats.convert(tmp_path / "b.jsonl", tmp_path / "c.txt")
    assert (tmp_path / "c.txt").read_text() == text


@pytest.mark.parametrize(
    ("raw", "elements"),
    [
        (b"[]", []),
        (b' [ {"a": 1} ,\n {"a": "],[\\"{"} ] \n', [{"a": 1}, {"a": '],["{'}]),
        (b'\xef\xbb\xbf[{"a": "\\\\"}]', [{"a": "\\"}]),
    ],
)
def test_a_json_array_is_read_element_by_element(tmp_path, raw, elements):
    (tmp_path / "a.json").write_bytes(raw)
    assert [row for _, row in formats.read(tmp_path / "a.json")] == elements


@pytest.mark.parametrize(
    "raw", [b'[{"a": 1}', b'[{"a": 1}] x', b'[{"a": 1},]', b'[{"a": 1}, , {"a": 2}]', b'[{"a": "x]']
)
def test_a_broken_array_is_not_taken_for_a_whole_one(tmp_path, raw):
    (tmp_path / "a.json").write_bytes(raw)
    with pytest.raises(UsageError, match="the line is not JSON"):
        list(formats.read(tmp_path / "a.json"))


def test_an_array_longer_than_the_window_has_its_rows_and_lines(tmp_path):
    rows = [{"text": f'{n} "[' + "x]," * (n % 500) + "\\"} for n in range(2000)]
    (tmp_path / "a.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    assert (tmp_path / "a.json").stat().st_size > 4 * 2**18
    assert list(formats.read(tmp_path / "a.json")) == [(n + 2, row) for n, row in enumerate(rows)]


def test_a_packed_file_that_breaks_off_is_our_error(tmp_path):
    packed = gzip.compress(b'{"text": "a"}\n' * 1000)
    (tmp_path / "a.jsonl.gz").write_bytes(packed[:-20])
    with pytest.raises(UsageError, match=r"cannot read .*a\.jsonl\.gz"):
        list(formats.read(tmp_path / "a.jsonl.gz"))


@pytest.mark.parametrize(("head", "what"), [(b"%PDF-1.4", "a PDF document"), (b"<html><body>", "an HTML page")])
def test_a_document_is_said_to_be_one(tmp_path, head, what):
    (tmp_path / "a.bin").write_bytes(head)
    with pytest.raises(UsageError, match=f"is {what} and holds no training rows; make some from it"):
        formats.recognise(tmp_path / "a.bin")
