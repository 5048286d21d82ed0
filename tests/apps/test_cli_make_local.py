"""The makers with a local model behind them: they run, what a random model says is dropped by its reasons, they are the seed's, and kill -9 loses nothing."""

import json
import signal
import subprocess
import sys

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from apps.cli import main
from chains.models import registry, weights
from tests import tiny
from tests.apps.test_cli_make import DOCUMENT, rows
from tuning import tokenizer

CONTEXT = 1100  # leaves the recipes some 200 tokens to write

KILLED = """
import os, signal, sys
from tuning.generate import journal
write, left = journal.Journal._write, [int(sys.argv[1])]
def dying(self, event):
    left[0] -= 1
    if not left[0]:
        self._file.write(b'{"half": [')
        self._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, event)
journal.Journal._write = dying
from apps.cli import main
main(sys.argv[2:])
"""


def starter():
    """Put a random model with room for the makers' long prompts into the registry."""
    words = tokenizer.train(tiny.TEXTS, 400, CONTEXT)
    torch.manual_seed(0)
    sizes = {"vocab_size": len(words), "n_positions": CONTEXT, "n_embd": 16, "n_layer": 1, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**sizes, eos_token_id=words.eos_token_id, tie_word_embeddings=False))
    with (
        registry.publish("starter", {"kind": "chat", "method": "pretrain", "parents": []}) as folder,
        weights.quiet(bars=False),
    ):
        model.save_pretrained(folder)
        words.save_pretrained(folder)


@pytest.fixture
def sources(tmp_path):
    """A local model of random weights, and what the makers read."""
    starter()
    (tmp_path / "docs").mkdir()
    for n in range(3):
        (tmp_path / "docs" / f"{n}.md").write_text(DOCUMENT.replace("열두", f"{n + 4}"))
    tiny.write(tmp_path / "prompts.jsonl", [tiny.chat(f"q{n}", "x") for n in range(3)])
    seeds = [
        {"instruction": f"say {n}", "instances": [{"input": "", "output": "a"}], "is_classification": n % 2 == 0}
        for n in range(8)
    ]
    tiny.write(tmp_path / "seeds.jsonl", seeds)
    return tmp_path


def command(kind, sources, out, seed=0):
    given = {
        "rank": ["rank", sources / "prompts.jsonl", "--k", "4..9", "--max-tokens", 4, "--at-once", 9],
        "dialog": ["dialog", "--auto", 3, "--exchanges", 1, "--at-once", 1, "--lang", "en"],
        "from-docs": ["from-docs", sources / "docs", "--n", 4, "--at-once", 1],
        "instruct": ["instruct", "--seeds", sources / "seeds.jsonl", "--recipe", "alpaca", "--n", 500, "--at-once", 25],
        "self-instruct": ["instruct", "--seeds", sources / "seeds.jsonl", "--n", 3, "--at-once", 5],
    }[kind]
    return ["data", *map(str, given), "--model", "starter", "--seed", str(seed), "--out", str(out), "--json"]


@pytest.mark.parametrize("kind", ["rank", "dialog"])
def test_the_seed_decides_every_answer(kind, sources, capsys):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert main(command(kind, sources, sources / name, seed)) == 0
    made = [(sources / name).read_bytes() for name in "abc"]
    assert made[0] == made[1] != made[2]
    assert len(rows(sources / "a")) == 3
    assert "takes no seed" not in capsys.readouterr().err


def test_k_answers_are_4_to_9_and_all_different(sources):
    assert main(command("rank", sources, sources / "o.jsonl")) == 0
    for row in rows(sources / "o.jsonl"):
        answers = [output["messages"][0]["content"] for output in row["outputs"]]
        assert 4 <= len(answers) <= 9 and len(set(answers)) == len(answers)


@pytest.mark.parametrize(
    ("kind", "reason"), [("from-docs", "no JSON"), ("instruct", "not in the form")], ids=["from-docs", "instruct"]
)
def test_what_a_random_model_writes_is_dropped_with_the_reason(kind, reason, sources, capsys):
    assert main(command(kind, sources, sources / "o.jsonl")) == 1
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "could be kept" in message and reason in message and "use a larger model" in message
    assert not (sources / "o.jsonl").exists()


@pytest.mark.parametrize(("kind", "status"), [("rank", 0), ("dialog", 0), ("from-docs", 1), ("instruct", 1)])
def test_what_was_killed_goes_on_as_if_it_had_not_been(kind, status, sources, capsys):
    assert main(command(kind, sources, sources / "whole.jsonl")) == status
    whole = capsys.readouterr().out
    out = sources / "o.jsonl"
    arguments = command(kind, sources, out)
    done = subprocess.run([sys.executable, "-c", KILLED, "3", *arguments], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL and not out.exists(), done.stderr[-800:]
    part = sources / "o.jsonl.part"
    assert len(part.read_bytes().splitlines()) == 3  # the settings, a step, and half of one
    assert main(arguments) == status
    if status:  # nothing could be kept, and the sum of what was dropped is the same
        assert json.loads(capsys.readouterr().out) == json.loads(whole)
        assert part.read_bytes().splitlines()[1:] == (sources / "whole.jsonl.part").read_bytes().splitlines()[1:]
    else:
        assert out.read_bytes() == (sources / "whole.jsonl").read_bytes()


@pytest.mark.parametrize("k", ["1..4", "4..12", "9..4", "four", "4..", "0"])
def test_a_k_that_nobody_can_rank_is_refused(k, sources, capsys):
    prompts, out = sources / "prompts.jsonl", sources / "o.jsonl"
    assert main(["data", "rank", str(prompts), "--k", k, "--model", "starter", "--out", str(out)]) == 2
    assert f"--k {k!r}" in capsys.readouterr().err


def test_self_instruct_with_a_random_model_counts_what_it_drops(sources, capsys):
    status = main(command("self-instruct", sources, sources / "o.jsonl"))
    said = json.loads(capsys.readouterr().out)
    if status:  # the instructions were noise
        assert "could be kept" in said["error"]["message"] and not (sources / "o.jsonl").exists()
    else:  # some noise passes for instructions, and for the outputs of their instances
        assert said["rows"] == len(rows(sources / "o.jsonl")) and sum(said["dropped"].values())
