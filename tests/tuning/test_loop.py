"""A run may be killed, interrupted, or find its newest checkpoint cut short: it ends as one that was never stopped."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from chains.errors import MachineError, ModelError, UsageError
from tuning import loop
from tuning.optimizer import Optimizer, cosine

STEPS = 7
ROOT = Path(__file__).parents[2]


class Stop(Exception):
    """Stands for a power cut."""


class Toy:
    """Two small modules that learn from random numbers; what it draws comes from torch's own generator."""

    def __init__(self, folder, diverges_at=None):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.modules = {"left": torch.nn.Linear(3, 2), "right": torch.nn.Linear(3, 2)}
        optimizers = {name: Optimizer([module], 0.1) for name, module in self.modules.items()}
        self.state = loop.State(dict(self.modules), optimizers, {"drawn": 0.0})
        self.folder, self.diverges_at = folder, diverges_at
        self.done = []

    def step(self, i):
        x = torch.randn(5, 3)
        loss = (self.modules["left"](x) - self.modules["right"](2 * x) - 1).square().mean()
        loss.backward()
        for optimizer in self.state.optimizers.values():
            optimizer.update(0.05)
        self.state.numbers["drawn"] += x.sum().item()
        return {"loss": float("nan") if i + 1 == self.diverges_at else loss.item()}

    def run(self, stop_after=None, ask_after=None, checkpoint_s=-1.0):
        def report(progress):
            self.done.append(progress.step)
            if progress.step == stop_after:
                raise Stop
            if progress.step == ask_after:
                os.kill(os.getpid(), signal.SIGINT)

        return loop.run("toy", STEPS, self.step, self.state, self.folder, 3, report, checkpoint_s)

    def weights(self):
        return [p.tolist() for module in self.modules.values() for p in module.parameters()]


@pytest.fixture
def whole(tmp_path):
    """A run that was never stopped, and its learning curve."""
    toy = Toy(tmp_path / "whole")
    return toy, toy.run(checkpoint_s=1e9)


def assert_ends_like(toy, history, whole):
    expected, curve = whole
    assert history == curve
    assert toy.weights() == expected.weights()
    assert toy.state.numbers == expected.state.numbers


def test_a_stopped_run_ends_as_one_that_was_not(tmp_path, whole):
    with pytest.raises(Stop):
        Toy(tmp_path / "toy").run(stop_after=5)
    again = Toy(tmp_path / "toy")
    history = again.run()
    assert again.done == [5, 6, 7]  # step 5 was done and not yet saved
    assert_ends_like(again, history, whole)


def test_ctrl_c_saves_at_once_and_the_next_run_goes_on(tmp_path, whole):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        Toy(tmp_path / "toy").run(ask_after=3, checkpoint_s=1e9)
    assert signal.getsignal(signal.SIGINT) is before
    again = Toy(tmp_path / "toy")
    history = again.run(checkpoint_s=1e9)
    assert again.done == [4, 5, 6, 7]
    assert_ends_like(again, history, whole)


@pytest.mark.parametrize(
    "file",
    [
        "state.json",
        "weights.left.safetensors",
        "weights.right.safetensors",
        "optimizer.left.safetensors",
        "optimizer.right.safetensors",
        "random.safetensors",
    ],
)
def test_a_truncated_checkpoint_gives_way_to_the_one_before(tmp_path, whole, file):
    folder = tmp_path / "toy"
    with pytest.raises(Stop):
        Toy(folder).run(stop_after=5)
    newest = folder / "step-00000004" / file
    newest.write_bytes(newest.read_bytes()[:-20])
    again = Toy(folder)
    history = again.run()
    assert again.done == [4, 5, 6, 7]
    assert_ends_like(again, history, whole)


@pytest.mark.parametrize("file", ["weights.right.safetensors", "optimizer.right.safetensors", "random.safetensors"])
def test_a_damaged_only_checkpoint_changes_nothing(tmp_path, whole, file):
    folder = tmp_path / "toy"
    with pytest.raises(Stop):
        Toy(folder).run(stop_after=2)
    (folder / "step-00000001" / file).write_bytes(b"")
    again = Toy(folder)
    history = again.run()
    assert again.done == [1, 2, 3, 4, 5, 6, 7]
    assert_ends_like(again, history, whole)


def test_only_the_last_two_checkpoints_are_kept(tmp_path):
    folder = tmp_path / "toy"
    with pytest.raises(Stop):
        Toy(folder).run(stop_after=6)
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000004", "step-00000005"]


def test_checkpoints_are_as_far_apart_as_asked(tmp_path):
    Toy(tmp_path / "toy").run(checkpoint_s=1e9)
    assert not (tmp_path / "toy").exists()


def test_a_step_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(tmp_path):
    folder = tmp_path / "toy"
    with pytest.raises(ModelError) as caught:
        Toy(folder, diverges_at=4).run()
    newest = folder / "step-00000003"
    assert str(caught.value) == (
        f"toy step 4: loss is nan; the training diverged (the checkpoint {newest} is kept). "
        "Lower the learning rate, or look at this step's data"
    )
    assert newest.is_dir()
    with pytest.raises(ModelError, match=r"toy step 1: loss is nan.*no checkpoint was written yet"):
        Toy(tmp_path / "other", diverges_at=1).run()


def test_a_step_that_is_not_finite_names_its_rows(tmp_path):
    toy = Toy(tmp_path / "toy", diverges_at=2)
    with pytest.raises(ModelError, match=r"look at this step's data: d\.jsonl:2$"):
        loop.run("toy", STEPS, toy.step, toy.state, toy.folder, 3, rows=lambda i: f"d.jsonl:{i + 1}")


def test_the_same_run_twice_at_once_is_refused_and_leaves_the_first_alone(tmp_path, whole):
    first, said = Toy(tmp_path / "toy"), []

    def report(progress):
        if progress.step == 3:
            with pytest.raises(UsageError) as caught:
                Toy(tmp_path / "toy").run()
            said.append(str(caught.value))

    history = loop.run("toy", STEPS, first.step, first.state, first.folder, 3, report, -1.0)
    assert said == [
        f"the same training is running already (its checkpoints are in {first.folder}); wait for it, or give another seed"
    ]
    assert_ends_like(first, history, whole)
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_leaves_the_last_checkpoint_usable(tmp_path, whole, monkeypatch):
    folder, real = tmp_path / "toy", loop.save_file

    def full(tensors, path):
        if "step-00000003" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(loop, "save_file", full)
    with pytest.raises(
        MachineError, match=r"the disk is full while writing .*step-00000003 .*run the same command again"
    ):
        Toy(folder).run()
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000001", "step-00000002"]
    monkeypatch.setattr(loop, "save_file", real)
    again = Toy(folder)
    history = again.run()
    assert again.done[0] == 3
    assert_ends_like(again, history, whole)


def test_a_run_that_is_finished_stops_and_stays_so(tmp_path):
    toy = Toy(tmp_path / "toy")
    history = loop.run(
        "toy", STEPS, toy.step, toy.state, toy.folder, 3, finished=lambda: toy.state.numbers["drawn"] != 0
    )
    assert len(history) == 1


def test_a_run_leaves_the_callers_random_stream_alone(tmp_path):
    torch.manual_seed(9)
    expected = torch.rand(3).tolist()
    torch.manual_seed(9)
    Toy(tmp_path / "toy").run()
    assert torch.rand(3).tolist() == expected


def test_the_rate_rises_to_the_peak_and_falls_to_its_share():
    rates = [cosine(i, 11, 2.0, warmup=0.2, final=0.1) for i in range(11)]
    assert rates[:2] == [1.0, 2.0]
    assert rates[2] == pytest.approx(2.0)
    assert rates[6] == pytest.approx(0.2 + 1.8 * 0.5 * (1 + 0.17364818))  # 4/9 of half a turn: cos 80°
    assert sorted(rates[1:], reverse=True) == rates[1:] and rates[-1] > 0.2
    assert cosine(11, 11, 2.0, 0.2, 0.1) == pytest.approx(0.2)
    assert cosine(0, 10, 2.0, warmup=0.0, final=0.1) == 2.0


KILLED = """
import functools, json, os, signal, sys
from pathlib import Path
from tests import tiny
from tuning import loop, ppo, sft

loop.run = functools.partial(loop.run, checkpoint_s=-1)
folder = Path(sys.argv[1])
rows = [tiny.chat(f"{word}?", f"{word}!") for word in ("yes", "no", "maybe", "good", "bad")]
data = tiny.write(folder / "data.jsonl", rows)
(folder / "text.txt").write_text("\\n\\n".join(tiny.TEXTS * 4))
stages = {
    "sft": (sft, sft.Config("starter", data, epochs=2, batch_size=2, dropout=0.2, seed=1)),
    "ppo": (ppo, ppo.Config(
        "starter", "judge", data, ptx=str(folder / "text.txt"), iterations=4, batch_size=6, minibatch_size=4, epochs=2,
        max_tokens=5, kl_target=0.5, warmup_iterations=2, ema=0.9, seed=1,
    )),
    "adapter": (ppo, ppo.Config(
        "starter", "judge", data, iterations=4, batch_size=4, minibatch_size=4, max_tokens=5, ema=0.9, lora_rank=2,
        shared_trunk=True, seed=1,
    )),
}


def train(home, stage, kill_after=None):
    \"\"\"Train in a child process; return the signal it died by and the steps it reported.\"\"\"
    os.environ["CHAINTUNE_HOME"] = str(home)
    read, write = os.pipe()
    if not (child := os.fork()):
        def report(progress):
            os.write(write, bytes([progress.step]))
            if progress.step == kill_after:
                os.kill(os.getpid(), signal.SIGKILL)
        module, config = stages[stage]
        try:
            module.train(config, report)
        finally:
            os._exit(0)
    os.close(write)
    status = os.waitpid(child, 0)[1]
    with os.fdopen(read, "rb") as steps:
        return os.WTERMSIG(status), list(steps.read())


def weights(home):
    (path,) = (home / "models").glob("ft--*/model.safetensors")
    return path.read_bytes()


result = {}
for stage in stages:
    homes = {name: folder / stage / name for name in ("whole", "cut")}
    for home in homes.values():
        os.environ["CHAINTUNE_HOME"] = str(home)
        start = tiny.starter().path / "model.safetensors"
        tiny.judge()
    result[stage] = {
        "whole": train(homes["whole"], stage),
        "killed": train(homes["cut"], stage, kill_after=3),
        "listed_after_the_kill": sorted(path.name for path in (homes["cut"] / "models").iterdir()),
        "again": train(homes["cut"], stage),
        "same": weights(homes["whole"]) == weights(homes["cut"]),
        "learned": weights(homes["whole"]) != start.read_bytes(),
        "left": [path.name for path in (homes["cut"] / "work").iterdir()],
    }
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What happened to runs that were killed with SIGKILL; all of them in one process that has torch loaded already."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED, str(tmp_path_factory.mktemp("killed"))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("stage", "steps"), [("sft", 6), ("ppo", 4), ("adapter", 4)])
def test_a_killed_run_started_again_ends_with_the_same_weights(killed, stage, steps):
    seen = killed[stage]
    assert seen["whole"] == [0, list(range(1, steps + 1))]
    assert seen["killed"] == [signal.SIGKILL, [1, 2, 3]]
    assert seen["listed_after_the_kill"] == ["judge", "starter"]
    assert seen["again"] == [0, list(range(3, steps + 1))]  # step 3 was done and not yet saved
    assert seen["learned"] and seen["same"]
    assert seen["left"] == []
