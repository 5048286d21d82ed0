"""Every stage on a GPU gives the numbers that it gives on the CPU, in float32; what it keeps and publishes can be read on either.

The same tests run on CUDA's first GPU, where there is one, and on a stand-in (stand_in.py), in a process of its own: on that every tensor
that a GPU would refuse is refused, and the numbers are a CPU's. Of dropout both draw other masks, so that there is none but where it is meant.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from apps.cli import main
from chains.errors import UsageError
from chains.home import home
from chains.models import device as places
from tests import tiny
from tests.tuning import stand_in
from tuning import dpo, gathered, grpo, packing, placement, ppo, pretrain, reproduce, reward, sft

STANDING_IN = os.environ.get("CHAINTUNE_TEST_STAND_IN") == "1"
WORDS = ("yes", "no", "maybe", "good", "bad", "thanks")
NEAR = 1e-4
if STANDING_IN:
    switched = stand_in.switch_on()


@pytest.mark.timeout(900)
def test_every_stage_on_the_stand_in():
    """Run this file once more, in a process that has the stand-in."""
    if STANDING_IN:
        pytest.skip("this is that process")
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", __file__],
        env={**os.environ, "CHAINTUNE_TEST_STAND_IN": "1"}, cwd=Path(__file__).parents[2],
        capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 0 and " passed" in told.stdout, told.stdout[-6000:]


@pytest.fixture
def gpu(monkeypatch):
    """The device that a training takes where nobody says: CUDA's first GPU, or the stand-in."""
    if STANDING_IN:
        monkeypatch.setattr(places, "chosen", lambda wanted: wanted or stand_in.NAME)
    elif not torch.cuda.is_available():
        pytest.skip("there is no CUDA GPU here; the stand-in has run the same")
    gathered.layout.cache_clear()
    return placement.place(None)


@pytest.fixture
def files(tmp_path):
    """Models and data: a policy and a judge, demonstrations, rankings and text, by the fields they are for."""
    tiny.starter(spread=0.2)
    tiny.judge()
    rows = [tiny.chat(f"{word}?", f"{word} {word}, please!") for word in WORDS]
    ranked = [tiny.ranking(f"What is {word}?", ["good", f"bad {word}", "no"], [1, 2, 2]) for word in WORDS]
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"{word}? {word}! {word} is {other}." for word in WORDS for other in WORDS * 4))
    return {
        "demonstrations": tiny.write(tmp_path / "d.jsonl", rows),
        "rankings": tiny.write(tmp_path / "r.jsonl", ranked),
        "text": str(text),
    }


def supervised(files, **numbers):
    usual = {"epochs": 2, "batch_size": 2, "dropout": 0.0, "learning_rate": 1e-3, "seed": 3}
    return sft.Config("starter", files["demonstrations"], **{**usual, **numbers})


def ranking(files, **numbers):
    usual = {"epochs": 2, "batch_size": 2, "learning_rate": 1e-3, "seed": 3, "validation": files["rankings"]}
    return reward.Config("starter", files["rankings"], **{**usual, **numbers})


def playing(files, **numbers):
    usual = {"iterations": 1, "batch_size": 6, "minibatch_size": 3, "max_tokens": 5, "watch_every": 1, "seed": 3}
    return ppo.Config("starter", "judge", files["demonstrations"], **{**usual, **numbers})


def grouped(files, **numbers):
    usual = {"iterations": 1, "batch_size": 3, "group_size": 3, "minibatch_size": 5, "max_tokens": 5, "seed": 3}
    return grpo.Config("starter", files["demonstrations"], **{"rule": "f1", **usual, **numbers})


def small(files):
    sizes = {"vocab_size": 300, "context": 64, "layers": 1, "width": 16, "heads": 2, "sequence": 16}
    return pretrain.Config(files["text"], "small", steps=4, batch_size=3, seed=3, **sizes)


STAGES = {
    "pretrain": (pretrain, small),
    "sft packed": (sft, lambda files: supervised(files, validation=files["demonstrations"], samples=2)),
    "sft padded": (sft, lambda files: supervised(files, packing=False, accumulate=2)),
    "sft recomputed": (sft, lambda files: supervised(files, gradient_checkpointing=True)),
    "sft by reward": (
        sft,
        lambda files: supervised(
            files, validation=files["demonstrations"], reward_model="judge", publish="reward", max_tokens=4
        ),
    ),
    "sft among text": (sft, lambda files: supervised(files, pretraining=files["text"], pretraining_share=0.4)),
    "sft adapter": (sft, lambda files: supervised(files, lora_rank=4)),
    "reward shared": (reward, lambda files: ranking(files, demonstrations=files["demonstrations"])),
    "reward separate": (reward, lambda files: ranking(files, packing=False)),
    "dpo": (dpo, lambda files: dpo.Config("starter", files["rankings"], batch_size=2, seed=3, epochs=2)),
    "ppo": (ppo, playing),
    "ppo whole": (ppo, lambda files: playing(files, minibatch_size=6, ema=0.9, epochs=2)),
    "ppo with text": (ppo, lambda files: playing(files, ptx=files["text"], ptx_examples=2)),
    "ppo trunk": (ppo, lambda files: playing(files, shared_trunk=True)),
    "ppo adapter": (ppo, lambda files: playing(files, lora_rank=4)),
    "grpo": (grpo, grouped),
    "grpo judged": (grpo, lambda files: grouped(files, rule=None, reward_model="judge", lora_rank=4)),
    "rloo": (grpo, lambda files: grouped(files, algorithm="rloo")),
}


def curve(entry):
    return [json.loads(line) for line in (entry.path / "metrics.jsonl").read_text().splitlines()]


def on_both(stage, config):
    """Return the entries of a training on the GPU and on the CPU."""
    return stage.train(config), stage.train(dataclasses.replace(config, device="cpu"))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_on_the_gpu_has_the_cpus_numbers(name, gpu, files):
    if STANDING_IN and name == "sft recomputed":
        pytest.skip("torch's recomputation asks more of a device than the stand-in has")
    stage, make = STAGES[name]
    config = make(files)
    there, here = on_both(stage, dataclasses.replace(config, name="there") if stage is pretrain else config)
    assert there.meta["machine"]["device"] == placement.called(gpu) and here.meta["machine"]["device"] == "cpu"
    assert len(curve(there)) == len(curve(here)) >= 1
    for one, other in zip(curve(there), curve(here), strict=True):
        if stage is dpo:  # at its start all gaps are 0 but for rounding
            del one["pair_accuracy"], other["pair_accuracy"]
        assert one == pytest.approx(other, rel=NEAR, abs=NEAR)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "neox"])
def test_another_architecture_has_the_cpus_numbers(architecture, gpu, files):
    tiny.starter("other", architecture=architecture)
    tiny.judge("its-judge", architecture=architecture)
    rl = dataclasses.replace(playing(files), policy="other", reward_model="its-judge")
    for stage, config in ((sft, dataclasses.replace(supervised(files), model="other")), (ppo, rl)):
        there, here = on_both(stage, config)
        for one, other in zip(curve(there), curve(here), strict=True):
            assert one == pytest.approx(other, rel=NEAR, abs=NEAR)


@pytest.mark.parametrize(
    ("stage", "make"), [(sft, supervised), (reward, ranking), (ppo, playing), (grpo, grouped)], ids=lambda each: ""
)
@pytest.mark.parametrize("rank", [0, 4])
def test_bfloat16_computes_and_float32_is_kept(stage, make, rank, gpu, files):
    """The two devices round their sums in other orders: bfloat16 has 8 bits."""
    if stage is reward and rank:
        pytest.skip("a reward model is not trained by an adapter")
    config = make(files, dtype="bfloat16", **({"lora_rank": rank} if rank else {}))
    there, here = on_both(stage, config)
    weights = load_file(there.path / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    if stage in (sft, reward):
        assert curve(there)[0]["loss"] == pytest.approx(curve(here)[0]["loss"], rel=2e-2)


# Stopping and going on


def stopped(stage, config, after):
    """Train `config` until `after` steps are done, as Ctrl-C stops it."""

    def stop(progress):
        if progress.step == after:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stage.train(config, stop)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(dropout, gpu, files):
    config = supervised(files, dropout=dropout)
    whole = curve(sft.train(config))
    stopped(sft, config, 3)
    assert curve(sft.train(config)) == [pytest.approx(step, rel=NEAR, abs=NEAR) for step in whole]


def test_ppo_that_was_stopped_goes_on_as_if_it_had_not_been(gpu, files):
    config = playing(files, iterations=3, ema=0.9)
    whole = curve(ppo.train(config))
    stopped(ppo, config, 2)
    assert curve(ppo.train(config))[:2] == [pytest.approx(step, rel=NEAR, abs=NEAR) for step in whole[:2]]


@pytest.mark.parametrize("first", [None, "cpu"])
def test_a_checkpoint_of_one_device_goes_on_on_the_other(first, gpu, files):
    config = supervised(files, device=first)
    whole = curve(sft.train(config))
    stopped(sft, config, 3)
    (folder,) = (home() / "work").glob("sft-*")
    assert list(folder.glob("step-00000003"))
    other = sft.train(dataclasses.replace(config, device=None if first else "cpu"))
    assert curve(other) == [pytest.approx(step, rel=NEAR, abs=NEAR) for step in whole]


def test_a_model_is_made_again_on_the_device_that_it_was_made_on(gpu, files):
    here = sft.train(supervised(files, device="cpu"))
    there = sft.train(supervised(files))
    for entry, device in ((here, "cpu"), (there, placement.called(gpu))):
        made = reproduce.train(entry.name)
        assert made.again.meta["machine"]["device"] == device and not made.differences
        assert made.identical or device != "cpu"


# What needs no GPU


@pytest.mark.skipif(STANDING_IN, reason="told once")
def test_a_device_that_is_not_here_is_refused_in_a_sentence(files, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device, what in (("cuda", "an NVIDIA GPU"), ("mps", "Apple's")):
        with pytest.raises(UsageError, match=f"device='{device}' needs .*{what}.* device='cpu'"):
            sft.train(supervised(files, device=device))
    with pytest.raises(UsageError, match="device='gpu' is unknown; use 'cpu' or 'cuda' or 'mps'"):
        sft.train(supervised(files, device="gpu"))
    assert placement.place(None).type == "cpu"


@pytest.mark.skipif(STANDING_IN, reason="told once")
def test_the_command_line_says_where_and_the_record_keeps_it(files, capsys):
    asked = ["tune", "sft", "--model", "starter", "--data", files["demonstrations"], "--epochs", "1"]
    assert main([*asked, "--device", "cpu", "--json"]) == 0
    meta = json.loads(capsys.readouterr().out)["meta"]
    assert meta["config"]["device"] == meta["machine"]["device"] == "cpu"
    assert main([*asked, "--device", "tpu"]) == 2
    assert "device='tpu' is unknown; use 'cpu' or 'cuda' or 'mps'" in capsys.readouterr().err


PACKS = {
    "alone": ([([], [[1] * 5, [1] * 9, [1]])], None),
    "one prompt": ([([1] * 6, [[1] * 3, [1] * 7, [1]])], None),
    "both": ([([1] * 2, [[1] * 4]), ([], [[1] * 8]), ([1] * 5, [[1], [1] * 3])], None),
    "window": ([([1] * 6, [[1] * 3, [1] * 7]), ([], [[1] * 9])], 4),
    "window of one": ([([], [[1] * 5, [1] * 2])], 1),
}


@pytest.mark.skipif(STANDING_IN, reason="told once")
@pytest.mark.parametrize("heads", [(4, 4), (4, 2)])
@pytest.mark.parametrize("name", PACKS)
def test_gathered_attention_is_each_token_looking_back_in_its_own_sequence(name, heads):
    """A slow reference: one softmax a token over what it may see."""
    (groups, window), generator = PACKS[name], torch.Generator().manual_seed(1)
    pack = packing.branches(groups)
    total = sum(pack.lengths)
    q, k, v = (torch.randn(h, total, 6, generator=generator) for h in (heads[0], heads[1], heads[1]))
    for each in (q, k, v):
        each.requires_grad_()
    found = gathered.attention(q, k, v, pack.lengths, pack.follows, 0.4, window)
    mine = torch.autograd.grad((found * torch.linspace(-1, 1, found.numel()).view_as(found)).sum(), (q, k, v))
    expected = _slow(q, k, v, pack, 0.4, window)
    torch.testing.assert_close(found, expected)
    theirs = torch.autograd.grad((expected * torch.linspace(-1, 1, found.numel()).view_as(found)).sum(), (q, k, v))
    torch.testing.assert_close(mine, theirs)


def _slow(q, k, v, pack, scale, window):
    starts = [sum(pack.lengths[:n]) for n in range(len(pack.lengths))]
    rows = []
    for n, before in enumerate(pack.follows):
        past = [] if before is None else list(range(starts[before], starts[before] + pack.lengths[before]))
        for t in range(starts[n], starts[n] + pack.lengths[n]):
            seen = [*past, *range(starts[n], t + 1)]
            seen = seen[-window:] if window else seen
            said = []
            for head in range(len(q)):
                of = head // (len(q) // len(k))
                said.append(torch.softmax(q[head, t] @ k[of, seen].T * scale, dim=0) @ v[of, seen])
            rows.append(torch.stack(said))
    return torch.stack(rows, dim=1)
