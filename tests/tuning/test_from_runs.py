"""Recorded runs as demonstrations and preferences, with lineage and without personal data."""

import hashlib
import json

import pytest
from langchain_core.prompts import PromptTemplate

from apps.cli import main
from chains import LLMChain, load_model, runs
from chains.errors import UsageError
from tuning.data.rules_text import text_problems
from tuning.from_runs import collect
from tuning.redaction import redact


@pytest.fixture
def asked():
    """Ask a scripted model and return the run's id."""

    def ask(question, answer):
        LLMChain(llm=load_model(f"fake:{answer}"), prompt=PromptTemplate.from_template("{q}")).run(question)
        return runs.recent(1)[0].id

    return ask


def said(row):
    return row["messages"][-1]["content"]


def test_up_down_and_any(asked):
    good, bad, mended, plain = (asked(q, a) for q, a in [("a", "A"), ("b", "B"), ("c", "C"), ("d", "D")])
    runs.feedback(good, rating=1)
    runs.feedback(bad, rating=-1)
    runs.feedback(mended, rating=-1, correction="better")
    up = collect("up")
    assert [said(made.row) for made in up.chat] == ["A", "better"]
    assert [made.lineage["runs"] for made in up.chat] == [[good], [mended]]
    assert [said(made.row) for made in collect("down").chat] == ["B", "C"]
    assert [said(made.row) for made in collect("any").chat] == ["A", "B", "better", "D"]
    assert [made.row for made in up.preferences] == [
        {
            "input": {"messages": [{"role": "user", "content": "c"}]},
            "preferred_output": [{"role": "assistant", "content": "better"}],
            "non_preferred_output": [{"role": "assistant", "content": "C"}],
        }
    ]
    assert plain not in [id for made in up.chat for id in made.lineage["runs"]]


def test_two_answers_to_one_prompt_rated_apart_are_a_preference(asked):
    lost, won = asked("same", "bad"), asked("same", "good")
    runs.feedback(lost, rating=-1)
    runs.feedback(won, rating=1)
    (made,) = collect().preferences
    assert (
        made.row["preferred_output"][0]["content"] == "good" and made.row["non_preferred_output"][0]["content"] == "bad"
    )
    assert made.lineage["runs"] == [won, lost] and made.lineage["why"] == "rated up over rated down"


def test_the_same_row_comes_once_and_old_runs_stay_out(asked):
    for _ in range(2):
        runs.feedback(asked("a", "A"), rating=1)
    found = collect()
    assert (len(found.chat), found.twice) == (1, 1)
    assert collect(since=runs.recent(1)[0].started + 1).chat == []
    with pytest.raises(UsageError, match="no run of a chain 'Other'; have 'LLMChain'"):
        collect(chain="Other")


def test_personal_data_is_replaced_so_that_the_check_finds_none():
    text = "메일 kim.cs@naver.com, 전화 010-1234-5678, 카드 4111 1111 1111 1111, 주민 900101-1234568, 키 sk-abcdefghijklmnopqrstuvwx, 2026-05-01, 3,141,592"
    clean, count = redact({"messages": [{"content": text}]})
    assert (
        clean["messages"][0]["content"]
        == "메일 [EMAIL], 전화 [PHONE], 카드 [CARD], 주민 [RESIDENT_NUMBER], 키 [SECRET], 2026-05-01, 3,141,592"
    )
    assert count == 5
    assert list(text_problems(clean["messages"][0]["content"], "")) == []


def test_the_command_writes_rows_lineage_and_parts(asked, tmp_path, capsys):
    for n in range(10):
        runs.feedback(asked(f"q{n}, a{n}@naver.com", f"A{n}"), rating=1)
    out = tmp_path / "liked.jsonl"
    assert main(["data", "from-runs", "--since", "1d", "--split", "0.8,0.2", "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [file["rows"] for file in report["files"]] == [10, 8, 2] and report["redacted"] == 10
    lines, lineage = out.read_bytes().splitlines(), (tmp_path / "liked.lineage.jsonl").read_text().splitlines()
    assert [hashlib.sha256(line).hexdigest() for line in lines] == [json.loads(line)["sha256"] for line in lineage]
    assert main(["data", "check", str(tmp_path / "liked.train.jsonl")]) in (0, 1)
    assert "personal" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--since", "soon"], "--since 'soon' is no time"),
        (["--feedback", "good"], "feedback='good' is unknown"),
        ([], "no run with feedback 'up'"),
    ],
)
def test_what_cannot_be_made_is_said(options, message, tmp_path, capsys):
    assert main(["data", "from-runs", "--out", str(tmp_path / "o.jsonl"), *options]) == 2
    assert message in capsys.readouterr().err
