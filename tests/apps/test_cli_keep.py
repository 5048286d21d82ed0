"""models, runs, doctor, sample: what is on this machine."""

import json
import socket

import pytest

from apps.cli import doctor, main
from chains import Chatbot, load_model, runs
from chains.models import registry


def make(name, **meta):
    with registry.publish(name, {"kind": "chat", **meta}) as folder:
        (folder / "config.json").write_text("{}")


def said(capsys):
    return json.loads(capsys.readouterr().out)


def test_models_are_listed_shown_and_removed(capsys):
    make("ft:tiny:local:a:abcd1234", method="sft", base="tiny", metrics={"loss": 1.5})
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out == "NAME\tKIND\tMETHOD\tFROM\nft:tiny:local:a:abcd1234\tchat\tsft\ttiny\n"
    assert main(["models", "show", "ft:tiny:local:a:abcd1234"]) == 0
    assert "  metrics:\n    loss: 1.5\n" in capsys.readouterr().out
    assert main(["models", "rm", "ft:tiny:local:a:abcd1234", "--yes", "--json"]) == 0
    assert said(capsys) == {"removed": "ft:tiny:local:a:abcd1234"}
    assert registry.entries() == []


def test_a_model_is_not_removed_without_a_yes(capsys):
    make("tiny")
    assert main(["models", "rm", "tiny"]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert [entry.name for entry in registry.entries()] == ["tiny"]


def test_a_folder_gets_a_short_name(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"]}')
    assert main(["models", "add", "mine", str(tmp_path), "--json"]) == 0
    assert said(capsys)["source"] == str(tmp_path)
    assert registry.find("mine").source == str(tmp_path)


def test_without_models_the_next_step_is_said(capsys):
    main(["models", "list"])
    assert "chaintune demo" in capsys.readouterr().out


def test_a_models_lineage_goes_back_to_its_first_ancestor(capsys):
    make("starter", method="pretrain", data={"corpus.txt": "0f"}, parents=[])
    make("ft:starter:local:a:abcd1234", method="sft", data={"train.jsonl": "1a"}, parents=["starter"])
    parents = ["ft:starter:local:a:abcd1234", "ft:starter:local:rm:gone0000"]
    make("ft:starter:local:b:abcd1234", method="ppo", data={"prompts.jsonl": "2b", "text.txt": "3c"}, parents=parents)
    assert main(["models", "show", "ft:starter:local:b:abcd1234"]) == 0
    assert capsys.readouterr().out.endswith(
        "lineage:\n"
        "  ft:starter:local:b:abcd1234 (ppo, prompts.jsonl, text.txt)\n"
        "    ft:starter:local:a:abcd1234 (sft, train.jsonl)\n"
        "      starter (pretrain, corpus.txt)\n"
        "    ft:starter:local:rm:gone0000 (removed)\n"
    )
    assert main(["models", "show", "ft:starter:local:a:abcd1234", "--json"]) == 0
    (parent,) = said(capsys)["lineage"]["parents"]
    assert parent == {"name": "starter", "method": "pretrain", "data": ["corpus.txt"], "parents": []}


def test_a_model_that_names_itself_as_parent_is_shown_once(capsys):
    make("odd", method="sft", parents=["odd"])
    assert main(["models", "show", "odd"]) == 0
    assert capsys.readouterr().out.endswith("  odd (sft)\n    odd (given)\n")


def test_runs_are_listed_shown_and_exported(tmp_path, capsys):
    main(["chat", "-m", "first\nquestion", "--model", "fake:the answer"])
    capsys.readouterr()
    assert main(["runs", "list", "--json"]) == 0
    [run] = said(capsys)
    assert (run["inputs"]["question"], run["output"]["answer"], run["rating"]) == (
        "first\nquestion",
        "the answer",
        None,
    )
    assert main(["runs", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split("\t")[5:] == ["first question", "the answer"]
    assert main(["runs", "show", run["id"]]) == 0
    shown = capsys.readouterr().out
    assert "user: first\nquestion\n" in shown and "answer: the answer" in shown
    assert main(["runs", "show", run["id"], "--json"]) == 0
    assert said(capsys)["steps"][0]["messages"] == [{"role": "user", "content": "first\nquestion"}]
    out = tmp_path / "all.jsonl"
    assert main(["runs", "export", "--feedback", "all", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["messages"][-1] == {"role": "assistant", "content": "the answer"}


def test_exporting_what_nobody_rated_says_how_to_rate(tmp_path, capsys):
    main(["chat", "-m", "q", "--model", "fake:a"])
    assert main(["runs", "export", "--out", str(tmp_path / "x.jsonl")]) == 2
    assert "rate some answers first" in capsys.readouterr().err
    assert main(["runs", "export", "--out", str(tmp_path / "x.jsonl"), "--feedback", "great"]) == 2


def chat(capsys, *words):
    assert main(["chat", *words]) == 0
    capsys.readouterr()
    return runs.recent(1)[0]


def test_runs_are_exported_as_traces(tmp_path, capsys):
    chat(capsys, "-m", "secret", "--model", "fake:a")
    out = tmp_path / "spans.jsonl"
    assert main(["runs", "export", "--format", "otel", "--out", str(out), "--json"]) == 0
    assert said(capsys) == {"file": str(out), "rows": 1}
    assert "gen_ai.operation.name" in out.read_text() and "secret" not in out.read_text()
    assert main(["runs", "export", "--format", "otel", "--content", "--out", str(out)]) == 0
    assert "secret" in out.read_text()
    capsys.readouterr()
    assert main(["runs", "export", "--format", "otlp", "--out", str(out)]) == 2
    assert "--format 'otlp' is unknown; use chat or otel" in capsys.readouterr().err
    assert main(["runs", "export", "--content", "--out", str(out)]) == 2


def test_two_runs_are_compared(capsys):
    one = chat(capsys, "-m", "What?", "--model", "fake:blue", "--session", "a")
    two = chat(capsys, "-m", "What?", "--model", "fake:red", "--temperature", "0.3", "--session", "b")
    assert main(["runs", "compare", one.id, two.id]) == 0
    out = capsys.readouterr().out
    assert f"id\t{one.id}\t{two.id}\n" in out and "temperature 0.3" in out
    assert out.endswith("\nprompt: the same\n\nanswer: differs\n  -blue\n  +red\n")
    assert main(["runs", "compare", one.id, two.id, "--json"]) == 0
    made = said(capsys)
    assert (made["prompt"], made["answer"], made["second"]["answer"]) == ([], ["-blue", "+red"], "red")


def test_a_call_is_made_again_with_another_model(capsys):
    run = chat(capsys, "-m", "What?", "--model", "fake:blue", "--system", "Be brief.")
    assert main(["runs", "rerun", run.id, "--model", "fake:red", "--json"]) == 0
    made = said(capsys)
    assert (made["prompt"], made["first"]["answer"], made["second"]["answer"]) == ([], "blue", "red")
    again = runs.get(made["second"]["id"])
    assert again.name == f"rerun of {run.steps[0].id if run.steps else runs.get(run.id).steps[0].id}"
    assert again.messages == runs.get(run.id).steps[0].messages and again.messages[0]["role"] == "system"
    assert main(["runs", "rerun", "none", "--model", "fake:red"]) == 2
    assert "no run 'none'" in capsys.readouterr().err


def test_new_runs_follow_the_latest(capsys, monkeypatch):
    chat(capsys, "-m", "one", "--model", "fake:a", "--session", "u1")
    chat(capsys, "-m", "two", "--model", "fake:b", "--session", "u2")
    assert main(["runs", "tail", "-n", "1"]) == 0
    assert capsys.readouterr().out.split("\t")[5:] == ["two", "b\n"]
    coming = iter([("u1", "three"), ("u2", "four"), None])

    def sleep(seconds):
        match next(coming):
            case None:
                raise KeyboardInterrupt
            case (session, words):
                Chatbot(load_model("fake:c"), session=session).ask(words)

    monkeypatch.setattr("apps.cli.runs_beside.sleep", sleep)
    assert main(["runs", "tail", "-f", "--session", "u1"]) == 0
    assert [line.split("\t")[5] for line in capsys.readouterr().out.splitlines()] == ["one", "three"]


def test_samples_are_listed_in_the_language_asked_for(capsys):
    main(["sample", "--lang", "ko", "--json"])
    [day, *_] = said(capsys)
    assert (day["name"], day["inputs"]) == ("perfect-day", {"city": "부산"})


def test_a_sample_runs_with_its_inputs(capsys):
    assert main(["sample", "perfect-day", "city=Jeju", "--model", "fake:Sea and wind.", "--lang", "en", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["text"] == "Sea and wind."
    assert "Jeju" in err


def test_an_input_is_a_key_and_a_value(capsys):
    assert main(["sample", "perfect-day", "Jeju", "--model", "fake:x"]) == 2
    assert "'Jeju' is no key=value" in capsys.readouterr().err


def test_the_source_of_a_sample_can_be_printed(capsys):
    assert main(["sample", "movies", "--source"]) == 0
    printed = capsys.readouterr().out
    assert "SimpleSequentialChain(" in printed and compile(printed, "movies", "exec")


def test_doctor_reports_what_is_there(capsys, home):
    make("tiny")
    assert main(["doctor", "--json"]) == 0
    found = {check["name"]: check for check in said(capsys)["checks"]}
    assert found["home"]["value"] == str(home)
    assert found["models"]["value"] == "tiny"
    assert all(check["state"] in ("ok", "note") for check in found.values())


def test_doctor_ends_with_one_where_something_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert main(["doctor"]) == 1
    assert "embeddings\tbad\t" in capsys.readouterr().out


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2"])  # both in the range of the WAL corruption bug
def test_doctor_calls_an_unsafe_sqlite_bad(capsys, monkeypatch, version):
    monkeypatch.setattr("apsw.sqlite_lib_version", lambda: version)
    assert main(["doctor"]) == 1
    assert f"sqlite\tbad\t{version}; run: pip install -U apsw" in capsys.readouterr().out


def test_doctor_sees_a_port_in_use(capsys, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(doctor, "PORT", taken.getsockname()[1])
        main(["doctor"])
    assert "is in use; chaintune ui --port takes another" in capsys.readouterr().out
