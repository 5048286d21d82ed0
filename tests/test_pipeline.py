"""The whole loop at its smallest size: documents, data, starter, SFT, rankings, reward model, PPO, chains, report."""

import json
from contextlib import nullcontext

import pytest

from apps.demo.run import run
from apps.demo.sizes import QUICK
from apps.demo.words import WORDS
from apps.samples.hobanne.table import groups
from chains.models import registry
from tuning import formats


def _bars(label):
    return nullcontext(lambda done, total, note: None)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One quick demo, its facts, its folder and what it said."""
    with pytest.MonkeyPatch.context() as patch:
        home, out = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("out")
        patch.setenv("CHAINTUNE_HOME", str(home))
        said: list[str] = []
        facts = run(0, out, said.append, _bars, quick=True, language="ko")
        entries = {entry.name: entry for entry in registry.entries()}
        again = run(0, out, said.append, _bars, quick=True, language="en")
    return facts, out, said, entries, again


def test_every_model_lands_in_the_registry_with_its_parents(demo):
    facts, _, _, entries, _ = demo
    names = facts["models"]
    assert set(names.values()) == set(entries)
    assert entries[names["SFT"]].meta["parents"] == ["starter"]
    assert entries[names["reward model"]].meta["parents"] == [names["SFT"]]
    assert entries[names["PPO"]].meta["parents"] == [names["SFT"], names["reward model"]]
    assert entries[names["reward model"]].kind == "reward"
    assert all(name.startswith("ft:starter:local:hobanne") for label, name in names.items() if label != "starter")


def test_the_data_files_hold_what_the_steps_say(demo):
    _, out, _, _, _ = demo
    drawn = groups(0, QUICK.facts)
    shown = {q.text for q in drawn.demonstrations}
    kept_out = {q.text for q in [*drawn.ranked, *drawn.unseen]}
    learned = {row["messages"][0]["content"] for row in formats.read_chat(out / "demonstrations.jsonl")}
    assert shown <= learned
    assert not kept_out & learned
    ranked = formats.read_rankings(out / "rankings.jsonl") + formats.read_rankings(out / "held_out_rankings.jsonl")
    assert {row["input"]["messages"][0]["content"] for row in ranked} <= {q.text for q in drawn.ranked}
    assert all(len(row["outputs"]) <= 9 for row in ranked)


def test_the_report_holds_the_table_and_the_curves(demo):
    facts, out, _, _, _ = demo
    page = (out / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert len(facts["table"]) == 9  # three models, three groups
    assert all(name in page for name in ("starter", "SFT", "PPO"))
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    json.dumps(facts)


def test_the_same_seed_gives_the_same_figures(demo):
    facts, _, _, _, again = demo
    assert again["table"] == facts["table"]
    assert again["reward_model"] == facts["reward_model"]


def test_every_step_is_told_in_the_language_asked(demo):
    _, _, said, _, _ = demo
    text = "\n".join(said)
    for number in ("1.", "2.", "3.", "4.", "5."):
        assert f"\n{number}" in f"\n{text}"
    assert "규칙집" in text and "The rulebook" in text


def test_both_languages_have_the_same_words():
    assert WORDS["en"].keys() == WORDS["ko"].keys()
