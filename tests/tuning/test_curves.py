"""What a training leaves to look at: a picture of every number beside the model, and TensorBoard's events, each step once."""

import dataclasses
import json
import struct

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from chains.errors import UsageError
from tests import tiny
from tuning import configs, curves, loop, sft

STEPS = 3


@pytest.fixture
def config(home, tmp_path, monkeypatch):
    """Three steps of SFT, a checkpoint after each but the last."""
    monkeypatch.setattr(loop, "CHECKPOINT_S", -1.0)
    tiny.starter()
    data = tiny.write(tmp_path / "d.jsonl", [tiny.chat(f"{word}?", "good") for word in ("yes", "no", "maybe")])
    return sft.Config("starter", data, epochs=1, batch_size=1, dropout=0.0, tensorboard=True, seed=1)


def raw(folder):
    """Every (step, value) of the loss in an event file as it was written: nothing that TensorBoard would drop is dropped."""
    read = EventAccumulator(str(folder), purge_orphaned_data=False)
    read.Reload()
    return [(event.step, event.value) for event in read.Scalars("loss")], read.Tags()["scalars"]


def history(entry):
    return [json.loads(line) for line in (entry.path / "metrics.jsonl").read_text().splitlines()]


def test_the_events_beside_a_model_are_its_metrics(config):
    entry = sft.train(config)
    losses, tags = raw(entry.path / "tensorboard")
    assert [step for step, _ in losses] == [1, 2, 3]
    assert [value for _, value in losses] == pytest.approx([m["loss"] for m in history(entry)])
    assert set(tags) == {"loss", "gradient_norm", "learning_rate"}


def test_a_resumed_run_has_no_step_twice(config, home):
    def stop(progress):
        if progress.step == 2:
            raise RuntimeError("power cut")  # step 2 was done and not yet saved

    with pytest.raises(RuntimeError):
        sft.train(config, stop)
    (half,) = (home / "work").glob("*/tensorboard")
    assert [step for step, _ in raw(half)[0]] == [1, 2]
    done = []
    entry = sft.train(config, lambda progress: done.append(progress.step))
    assert done == [2, 3]
    assert [step for step, _ in raw(entry.path / "tensorboard")[0]] == [1, 2, 3]
    assert not list((home / "work").iterdir())


def test_a_run_goes_on_with_events_that_it_began_without(config):
    def stop(progress):
        if progress.step == 2:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        sft.train(dataclasses.replace(config, tensorboard=False), stop)
    done = []
    entry = sft.train(config, lambda progress: done.append(progress.step))
    assert done == [2, 3]  # the same run, although it is now watched
    assert len(raw(entry.path / "tensorboard")[0]) == STEPS


def test_none_are_written_unless_asked_and_the_picture_is(config):
    entry = sft.train(dataclasses.replace(config, tensorboard=False))
    assert not (entry.path / "tensorboard").exists()
    head = (entry.path / "curves.png").read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:]) == (1260, 320)  # three panels side by side


def test_every_number_has_a_panel_with_the_steps_that_measured_it():
    shown = curves.panels([{"loss": 3.0}, {"loss": 2.0, "validation_loss": 2.5}, {"loss": 1.0}])
    assert [(panel.title, panel.lines) for panel in shown] == [
        ("loss", {"": ([1, 2, 3], [3.0, 2.0, 1.0])}),
        ("validation_loss", {"": ([2], [2.5])}),
    ]


def test_without_the_package_it_says_what_to_install(config, monkeypatch):
    monkeypatch.setattr(configs, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"tensorboard needs .* run: pip install 'chaintune\[tensorboard\]'"):
        sft.train(config)
