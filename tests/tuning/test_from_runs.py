"""Recorded runs as demonstrations and preferences, with lineage and without personal data."""

import hashlib
import json
from types import SimpleNamespace

import pytest
from langchain_core.prompts import PromptTemplate

from apps.cli import main
from chains import BestOfN, LLMChain, SelfConsistency, load_model, runs
from chains.errors import UsageError
from tuning import from_runs
from tuning.data.rules_text import text_problems
from tuning.redaction import redact


def collect(*arguments, **options):
    """All that is made, by kind, and how it was counted."""
    tally = from_runs.Tally()
    made = list(from_runs.collect(*arguments, tally=tally, **options))
    return SimpleNamespace(**{kind: [m for m in made if m.kind == kind] for kind in from_runs.KINDS}, twice=tally.twice)


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


@pytest.fixture
def voted():
    """A vote of five between two answers, and the best of three by length."""
    chain = LLMChain(llm=load_model("fake:A|B|A|A|B"), prompt=PromptTemplate.from_template("{q}"))
    SelfConsistency(chain, n=5).run("which? a@naver.com")
    chain = LLMChain(llm=load_model("fake:xx|x|xxx"), prompt=PromptTemplate.from_template("{q}"))
    BestOfN(chain, n=3, score=lambda answer: float(len(answer))).run("how long?")


def test_what_votes_and_best_of_n_decided_becomes_rankings(voted):
    vote, best = collect("up").rankings
    assert vote.row == {
        "input": {"messages": [{"role": "user", "content": "which? [EMAIL]"}]},
        "outputs": [
            {"messages": [{"role": "assistant", "content": text}], "rank": rank} for text, rank in (("A", 1), ("B", 2))
        ],
    }
    assert [(o["messages"][0]["content"], o["rank"]) for o in best.row["outputs"]] == [("xx", 2), ("x", 3), ("xxx", 1)]
    assert vote.lineage["why"] == "ranked by SelfConsistency" and vote.lineage["redacted"] == 1
    assert vote.lineage["runs"] == [runs.recent(2)[1].id] and best.lineage["runs"] == [runs.recent(1)[0].id]
    assert [len(rows) for rows in (collect("any").rankings, collect("down").rankings)] == [2, 0]


def test_a_choice_that_a_person_rated_down_is_no_ranking(voted):
    runs.feedback(runs.recent(1)[0].id, rating=-1)
    assert [made.lineage["chain"] for made in collect().rankings] == ["SelfConsistency"]


def test_the_command_writes_rankings_that_the_check_takes(voted, tmp_path, capsys):
    out = tmp_path / "all.jsonl"
    assert main(["data", "from-runs", "--feedback", "any", "--split", "0.5,0.5", "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    files = {file["file"].rsplit("/", 1)[1]: file["rows"] for file in report["files"]}
    assert (files["all.rankings.jsonl"], files["all.rankings.train.jsonl"], files["all.rankings.test.jsonl"]) == (
        2,
        1,
        1,
    )
    main(["data", "check", str(tmp_path / "all.rankings.jsonl"), "--json"])
    checked = json.loads(capsys.readouterr().out)
    assert checked["format"] == "rankings" and {f["rule"] for f in checked["findings"]} == {"too-few-rows"}


def test_runs_are_read_one_by_one(asked, monkeypatch):
    for n in range(3):
        runs.feedback(asked(f"q{n}", f"A{n}"), rating=1)
    read, get = [], runs.get
    monkeypatch.setattr(runs, "get", lambda id: read.append(id) or get(id))
    first = next(from_runs.collect())
    assert said(first.row) == "A0" and len(read) == 1


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
