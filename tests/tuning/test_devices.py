"""Two processes make one model: the same losses as one process with the same batch, one of them writes, and a stopped run goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from apps.cli import main
from chains.errors import UsageError
from chains.models import registry
from tests import tiny
from tuning import base, devices, dpo, pretrain, reward, sft
from tuning.optimizer import Optimizer

ROOT = Path(__file__).parents[2]
WORDS = ("yes", "no", "maybe", "good", "bad", "please", "thanks")
"""Seven rows in batches of three: two rows and one, and at the end one row and none."""


def stages(folder, dropout=0.0):
    """Every stage that can be divided, with the smallest configuration whose batches divide unevenly."""
    text, data, ranked = (str(folder / name) for name in ("text.txt", "d.jsonl", "r.jsonl"))
    some = {"batch_size": 3, "seed": 1}
    sizes = {"vocab_size": 300, "context": 64, "layers": 1, "width": 16, "heads": 2, "sequence": 16}
    return {
        "sft": (sft, sft.Config("starter", data, data, epochs=2, accumulate=2, dropout=dropout, **some)),
        "rm": (reward, reward.Config("starter", ranked, **some)),
        "dpo": (dpo, dpo.Config("starter", ranked, **some)),
        "padded": (reward, reward.Config("starter", ranked, packing=False, **some)),
        "pretrain": (pretrain, pretrain.Config(text, "made", steps=3, **sizes, **some)),
    }


def write(folder):
    """Write what the stages learn from."""
    (folder / "text.txt").write_text("\n\n".join(tiny.TEXTS * 4))
    tiny.write(folder / "d.jsonl", [tiny.chat(f"{word}?", f"{word} {'!' * n}") for n, word in enumerate(WORDS)])
    rows = [tiny.ranking(f"{word}?", ["good", "bad", "no"], [1, 2, 2 + n % 2]) for n, word in enumerate(WORDS)]
    tiny.write(folder / "r.jsonl", rows)


def curve(entry):
    return [json.loads(line) for line in (entry.path / "metrics.jsonl").read_text().splitlines()]


def two(folder):
    """What each of the two processes does: all stages, PPO, and SFT with dropout, cut after three steps and gone on with."""
    from tuning import loop, ppo

    loop.CHECKPOINT_S = -1.0
    rank, said = os.environ["RANK"], {}
    os.environ["CHAINTUNE_HOME"] = str(folder / "home")
    for name, (stage, config) in stages(folder).items():
        seen = []
        entry = stage.train(config, lambda at, seen=seen: seen.append(at.step))
        said[name] = {"name": entry.name, "reports": seen, "processes": entry.meta["machine"]["processes"]}
    try:
        ppo.train(ppo.Config("starter", "judge", stages(folder)["sft"][1].data))
    except UsageError as error:
        said["ppo"] = str(error)
    config = stages(folder, dropout=0.3)["sft"][1]
    said["whole"] = sft.train(config).name
    os.environ["CHAINTUNE_HOME"] = str(folder / "cut")
    update, done = Optimizer.update, []
    Optimizer.update = lambda self, rate: done.append(rate) or (update(self, rate) if len(done) < 4 else 1 / 0)
    try:
        sft.train(config)
    except ZeroDivisionError:
        Optimizer.update = update
    steps = []
    said["cut"] = sft.train(config, lambda at: steps.append(at.step)).name
    said["went_on_from"] = steps[:1]
    (folder / f"said-{rank}.json").write_text(json.dumps(said))
    os.environ["CHAINTUNE_HOME"] = str(folder / "command")
    assert main(["tune", "sft", "--model", "starter", "--data", config.data, "--epochs", "1", "--json"]) == 0


def launch(*words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What two processes made, and said of it, the first one's word first."""
    folder = tmp_path_factory.mktemp("two")
    write(folder)
    for home in ("home", "cut", "command"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CHAINTUNE_HOME", str(folder / home))
            tiny.starter()
            tiny.judge()
    launcher = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"]
    (folder / "printed").write_text(launch(*launcher, "-m", "tests.tuning.test_devices", str(folder)))
    return folder, [json.loads((folder / f"said-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", ["sft", "rm", "dpo", "padded", "pretrain"])
def test_two_processes_have_the_losses_of_one(said, name, home, monkeypatch):
    folder, (first, second) = said
    tiny.starter()
    stage, config = stages(folder)[name]
    alone = stage.train(config)
    monkeypatch.setenv("CHAINTUNE_HOME", str(folder / "home"))
    together = registry.find(first[name]["name"])
    assert second[name]["name"] == together.name  # one model, and both know it
    assert first[name]["processes"] == 2
    assert (first[name]["reports"], second[name]["reports"]) == (list(range(1, len(curve(alone)) + 1)), [])
    assert len(curve(alone)) >= 3
    for ours, theirs in zip(curve(together), curve(alone), strict=True):
        if name == "dpo" and ours["step"] == 1:  # the policy is its reference: each gap is 0, or the last bit of a sum
            ours, theirs = ({**each, "pair_accuracy": 0.0} for each in (ours, theirs))
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    made = base.load(together.name, together.kind).model.state_dict()
    monkeypatch.setenv("CHAINTUNE_HOME", str(home))
    for key, value in base.load(alone.name, alone.kind).model.state_dict().items():
        torch.testing.assert_close(made[key], value, rtol=1e-3, atol=1e-4)


def test_a_stopped_run_of_two_goes_on_to_the_same_weights(said, monkeypatch):
    folder, (first, second) = said
    assert (first["went_on_from"], second["went_on_from"]) == ([4], [])
    prints = []
    for home, name in (("home", first["whole"]), ("cut", first["cut"])):
        monkeypatch.setenv("CHAINTUNE_HOME", str(folder / home))
        prints.append(base.fingerprint(base.source(name)))
    assert prints[0] == prints[1]
    assert not list((folder / "cut" / "work").iterdir())


def test_what_cannot_be_divided_is_refused(said, monkeypatch):
    _, (first, second) = said
    sentence = "ppo runs in one process; start it without a launcher (pretrain, sft, reward, dpo share their batches)"
    assert first["ppo"] == second["ppo"] == sentence
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    with pytest.raises(UsageError, match="ACCELERATE_MIXED_PRECISION=bf16 is not read; give the command --dtype bfloa"):
        devices.join("sft")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(UsageError, match="DeepSpeed is not supported; launch with --use_fsdp, which divides the model"):
        devices.join("sft")


def test_the_launchers_flag_that_starts_one_process_is_named(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    devices.join("sft")  # one process, and one was asked for
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(UsageError, match="--cpu starts one process, whatever --num_processes says; write --multi_gpu"):
        devices.join("sft")


def test_the_command_says_its_result_once(said, monkeypatch):
    folder, _ = said
    (line,) = [line for line in (folder / "printed").read_text().splitlines() if line.startswith("{")]
    monkeypatch.setenv("CHAINTUNE_HOME", str(folder / "command"))
    assert json.loads(line)["meta"]["machine"]["processes"] == 2
    assert sorted(entry.name for entry in registry.entries()) == sorted(["starter", "judge", json.loads(line)["name"]])


if __name__ == "__main__":
    two(Path(sys.argv[1]))
