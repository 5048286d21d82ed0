"""Two processes divide one model (FSDP): the losses and weights of one process, less memory, and a killed run goes on to the same bits."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from chains.errors import UsageError
from chains.models import registry
from tests import tiny
from tests.tuning.test_devices import ROOT, curve, stages, write
from tuning import base, devices, fsdp, loop, sft, sharded

NAMES = ("sft", "rm", "dpo", "padded", "pretrain")


def all_stages(folder):
    """What each of two processes does: every stage, what is refused, and SFT in bfloat16."""
    os.environ["CHAINTUNE_HOME"] = str(folder / "home")
    said, rank = {}, os.environ["RANK"]
    for name, (stage, config) in stages(folder).items():
        seen = []
        said[name] = {"name": stage.train(config, lambda at, seen=seen: seen.append(at.step)).name, "reports": seen}
    config = stages(folder)["sft"][1]
    said["half"] = sft.train(replace(config, dtype="bfloat16")).name
    reward, ranked = stages(folder)["rm"]
    for name, stage, refused in (
        ("lora", sft, replace(config, lora_rank=2)),
        ("exact", reward, replace(ranked, dtype="bfloat16")),
    ):
        try:
            stage.train(refused)
        except UsageError as error:
            said[name] = str(error)
    (folder / f"said-{rank}.json").write_text(json.dumps(said))


def other_settings(folder):
    """What each of two processes does where the launcher was told otherwise: SFT with accumulation."""
    os.environ["CHAINTUNE_HOME"] = str(folder / "other")
    made = sft.train(stages(folder)["sft"][1]).name
    (folder / f"other-{os.environ['RANK']}.json").write_text(json.dumps({"sft": made}))


def best(folder):
    """The configuration whose run is killed: with dropout, its best weights kept."""
    data = str(folder / "d.jsonl")
    return sft.Config("starter", data, data, epochs=2, batch_size=3, seed=1, dropout=0.3, publish="validation")


def whole(folder):
    """A run that nothing stops, a checkpoint after every step."""
    _checkpointed(folder, "whole")


def killed(folder):
    """The second process dies when its part of the fourth checkpoint's weights is written, and the optimiser's is not."""
    save, done = sharded.save, []

    def dying(module, path):
        save(module, path)
        done.extend([path] * (path.parent.name.startswith(".step-")))
        if len(done) == 4 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)

    sharded.save = dying
    _checkpointed(folder, "cut")


def again(folder):
    """The same command."""
    _checkpointed(folder, "cut")


def _checkpointed(folder, home):
    loop.CHECKPOINT_S = -1.0
    os.environ["CHAINTUNE_HOME"] = str(folder / home)
    steps = []
    made = sft.train(best(folder), lambda at: steps.append(at.step)).name
    (folder / f"{home}-{os.environ['RANK']}.json").write_text(json.dumps({"name": made, "steps": steps}))


def one_step(folder):
    """One step of a model of 100 M parameters, published, and the most memory that it took this process."""
    os.environ["CHAINTUNE_HOME"] = str(folder / "large")
    sft.train(sft.Config("starter", str(folder / "d.jsonl"), epochs=1, batch_size=7))
    (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    (folder / f"peak-{os.environ['RANK']}").write_text(peak.split()[1])


def launch(does, folder, *flags, fails=False):
    """Start two processes that do it, and return what they said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    launcher = ["accelerate.commands.launch", "--num_processes", "2", "--main_process_port", "0"]
    words = [*launcher, *(flags or ["--use_fsdp"]), "-m", "tests.tuning.test_sharded", does, str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=200
    )
    assert bool(done.returncode) == fails, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the stages learn from, and a home for each of the runs."""
    folder = tmp_path_factory.mktemp("sharded")
    write(folder)
    for home in ("home", "other", "whole", "cut"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CHAINTUNE_HOME", str(folder / home))
            tiny.starter()
    return folder


@pytest.fixture(scope="module")
def said(folder):
    """What two processes made of every stage, the first one's word first."""
    launch("all_stages", folder)
    return [json.loads((folder / f"said-{rank}.json").read_text()) for rank in (0, 1)]


def weights(home, entry, monkeypatch):
    """All the weights of a model in one row."""
    monkeypatch.setenv("CHAINTUNE_HOME", str(home))
    return torch.cat([value.flatten() for value in base.load(entry, kind_of(entry)).model.state_dict().values()])


def kind_of(name):
    return registry.find(name).kind


@pytest.mark.parametrize("name", NAMES)
def test_a_divided_model_has_the_losses_and_weights_of_one_process(folder, said, name, home, monkeypatch):
    first, second = said
    tiny.starter()
    stage, config = stages(folder)[name]
    alone = stage.train(config)
    expected = weights(home, alone.name, monkeypatch)
    found = weights(folder / "home", first[name]["name"], monkeypatch)
    together = registry.find(first[name]["name"])
    assert second[name]["name"] == together.name
    assert (first[name]["reports"], second[name]["reports"]) == (list(range(1, len(curve(alone)) + 1)), [])
    for ours, theirs in zip(curve(together), curve(alone), strict=True):
        if name == "dpo" and ours["step"] == 1:  # the policy is its reference: each gap is 0, or the last bit of a sum
            ours, theirs = ({**each, "pair_accuracy": 0.0} for each in (ours, theirs))
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)
    assert together.meta.get("shift", 0.0) == pytest.approx(alone.meta.get("shift", 0.0), abs=1e-3)
    assert (found - expected).norm() < 3e-5 * expected.norm()  # AdamW divides noise by noise where a gradient is 0


def test_bfloat16_of_a_divided_model_learns_as_one_process_does(folder, said, home):
    tiny.starter()
    alone = sft.train(replace(stages(folder)["sft"][1], dtype="bfloat16"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINTUNE_HOME", str(folder / "home"))
        together = registry.find(said[0]["half"])
    for ours, theirs in zip(curve(together), curve(alone), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=2e-3)
        assert ours["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=2e-2)


def test_what_needs_a_whole_model_is_refused(said):
    assert said[0]["lora"] == said[1]["lora"]
    assert said[0]["exact"].startswith("dtype='bfloat16' needs the whole model in one process")
    assert "lora_rank needs the whole model in one process; launch with --multi_gpu in place of FSDP" in said[0]["lora"]


def test_other_settings_change_no_result(folder, home, monkeypatch):
    flags = ["--use_fsdp", "--fsdp_version", "2", "--fsdp_reshard_after_forward", "false"]
    flags += ["--fsdp_activation_checkpointing", "true", "--fsdp_cpu_ram_efficient_loading", "false"]
    flags += ["--fsdp_auto_wrap_policy", "NO_WRAP"]
    launch("other_settings", folder, *flags)
    tiny.starter()
    alone = sft.train(stages(folder)["sft"][1])
    monkeypatch.setenv("CHAINTUNE_HOME", str(folder / "other"))
    together = registry.find(json.loads((folder / "other-0.json").read_text())["sft"])
    for ours, theirs in zip(curve(together), curve(alone), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)


def test_a_killed_run_goes_on_to_the_same_bits(folder, monkeypatch):
    launch("whole", folder)
    launch("killed", folder, fails=True)
    (stopped,) = (folder / "cut" / "work").glob("sft-*")
    assert sorted(path.name for path in stopped.glob("step-*")) == ["step-00000002", "step-00000003"]
    assert sorted(path.name for path in (stopped / "step-00000003").glob("weights.*")) == [
        "weights.model.1-of-2.safetensors",
        "weights.model.2-of-2.safetensors",
    ]
    monkeypatch.setenv("CHAINTUNE_HOME", str(folder / "cut"))
    with pytest.raises(UsageError, match="was written by FSDP with 2 processes, and this is without FSDP; go on as it"):
        sft.train(best(folder))
    launch("again", folder)
    prints = []
    for home in ("whole", "cut"):
        made = json.loads((folder / f"{home}-0.json").read_text())
        monkeypatch.setenv("CHAINTUNE_HOME", str(folder / home))
        prints.append(base.fingerprint(base.source(made["name"])))
    assert made["steps"][0] == 4
    assert prints[0] == prints[1]
    assert not list((folder / "cut" / "work").iterdir())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_a_divided_model_takes_each_process_less_memory(folder, monkeypatch):
    monkeypatch.setenv("CHAINTUNE_HOME", str(folder / "large"))
    ids = {"bos_token_id": None, "eos_token_id": tiny.words().eos_token_id, "pad_token_id": tiny.words().pad_token_id}
    sizes = {"vocab_size": len(tiny.words()), "n_positions": 96, "n_embd": 768, "n_layer": 14, "n_head": 12}
    with registry.publish("starter", {"kind": "chat", "method": "pretrain", "parents": []}) as made:
        GPT2LMHeadModel(GPT2Config(**sizes, **ids)).save_pretrained(made)
        tiny.words().save_pretrained(made)
    peaks = {}
    for flag in ("--multi_gpu", "--use_fsdp"):
        launch("one_step", folder, flag)
        peaks[flag] = max(int((folder / f"peak-{rank}").read_text()) / 1024 for rank in (0, 1))
    print({flag: f"{peak:.0f} MiB" for flag, peak in peaks.items()})
    assert peaks["--use_fsdp"] < 0.8 * peaks["--multi_gpu"]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "OFFLOAD_PARAMS",
            "true",
            "fsdp_offload_params: true is not supported: the parameters are in the CPU's memory",
        ),
        ("SHARDING_STRATEGY", "HYBRID_SHARD", "fsdp_sharding_strategy: HYBRID_SHARD is not supported: use FULL_SHARD"),
        ("SHARDING_STRATEGY", "NO_SHARD", "or --multi_gpu to divide nothing"),
        ("RESHARD_AFTER_FORWARD", "false", "FSDP's version 1 says that by fsdp_sharding_strategy"),
        ("VERSION", "3", "fsdp_version: 3 is not supported: use 1 or 2"),
        ("AUTO_WRAP_POLICY", "SIZE_BASED_WRAP", "use TRANSFORMER_BASED_WRAP or NO_WRAP"),
        ("STATE_DICT_TYPE", "LOCAL_STATE_DICT", "fsdp_state_dict_type: LOCAL_STATE_DICT is not supported"),
        ("FORWARD_PREFETCH", "true", "fsdp_forward_prefetch: true is not supported"),
        ("USE_ORIG_PARAMS", "false", "fsdp_use_orig_params: false is not supported"),
        ("BACKWARD_PREFETCH", "BACKWARD_POST", "fsdp_backward_prefetch: BACKWARD_POST is not supported"),
        ("ACTIVATION_CHECKPOINTING", "yes", "fsdp_activation_checkpointing: yes is not supported: use true or false"),
        ("ACTIVATION_CHECKPOINTING_OFFLOAD", "true", "fsdp_activation_checkpointing_offload: true is not supported"),
        ("IGNORED_MODULES", "lm_head", "fsdp_ignored_modules: lm_head is not supported"),
    ],
)
def test_a_setting_that_cannot_be_honoured_is_named(monkeypatch, name, value, sentence):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    devices.join("sft")  # the launcher's own defaults
    monkeypatch.setenv(f"FSDP_{name}", value)
    with pytest.raises(UsageError) as raised:
        devices.join("sft")
    assert sentence in str(raised.value)


def test_the_layers_that_are_divided_are_those_that_are_named():
    model = tiny.model("llama")
    assert fsdp.divided(model, None) == list(model.model.layers)
    assert fsdp.divided(model, ("LlamaMLP",)) == [layer.mlp for layer in model.model.layers]
    assert fsdp.divided(model, ()) == []
    with pytest.raises(UsageError, match="LlamaForCausalLM has no 'Bert'; have LlamaDecoderLayer"):
        fsdp.divided(model, ("LlamaMLP", "Bert"))


if __name__ == "__main__":
    {each.__name__: each for each in (all_stages, other_settings, whole, killed, again, one_step)}[sys.argv[1]](
        Path(sys.argv[2])
    )
