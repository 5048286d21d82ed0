"""A model to start from: what is loaded, what is refused, where dropout goes, and what is noted before a run."""

import importlib.metadata
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

from chains.errors import MachineError, UsageError
from chains.home import home
from chains.models import registry
from chains.models.scorer import load_scorer
from tests import tiny
from tuning import base, sft


def config_of(tmp_path, **numbers):
    data = tiny.write(tmp_path / "d.jsonl", [tiny.chat("yes?", "no.")])
    return sft.Config("starter", data, **{"epochs": 1, "dropout": 0.0, **numbers})


def test_loading_and_saving_say_nothing(tmp_path, capfd, caplog):
    tiny.starter(), tiny.judge()
    capfd.readouterr()
    with caplog.at_level(logging.WARNING, "transformers"):
        base.load("starter")
        base.load("judge", kind="reward")
        load_scorer("judge")
        sft.train(config_of(tmp_path))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("judge", "chat", "'judge' is a reward model; this needs a chat model"),
        ("starter", "reward", "'starter' is a chat model; this needs a reward model"),
        ("strater", "chat", "no model 'strater'; have 'judge', 'starter'; did you mean 'starter'? See: "),
        ("hf:/no/such/folder", "chat", "cannot load 'hf:/no/such/folder' as a transformers model: "),
    ],
)
def test_a_model_of_the_wrong_kind_or_name_is_refused(name, kind, sentence):
    tiny.starter(), tiny.judge()
    with pytest.raises(UsageError) as caught:
        base.load(name, kind)
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)


def test_weights_that_are_not_whole_are_refused():
    path = tiny.starter().path / "model.safetensors"
    tensors = load_file(path)
    del tensors["transformer.h.1.mlp.c_fc.weight"]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(MachineError, match=r"the weights of 'starter' are not whole: transformer\.h\.1\.mlp\.c_fc"):
        base.load("starter")


def test_a_classifier_with_two_labels_is_no_reward_model():
    entry = tiny.judge()
    config = json.loads((entry.path / "config.json").read_text())
    config |= {"id2label": {"0": "good", "1": "bad"}, "label2id": {"good": 0, "bad": 1}}
    (entry.path / "config.json").write_text(json.dumps(config))
    tensors = load_file(entry.path / "model.safetensors")
    tensors["score.weight"] = torch.zeros(2, 32)
    save_file(tensors, entry.path / "model.safetensors", {"format": "pt"})
    for load in (load_scorer, lambda name: base.load(name, "reward")):
        with pytest.raises(UsageError, match="'judge' is a GPT2ForSequenceClassification with 2 labels"):
            load("judge")


def test_dropout_goes_on_the_residual_path_alone():
    gpt2 = tiny.model("gpt2")
    base.set_dropout(gpt2, 0.3)
    shares = {name: module.p for name, module in gpt2.named_modules() if isinstance(module, torch.nn.Dropout)}
    assert shares == {
        "transformer.drop": 0.0,
        **{f"transformer.h.{n}.attn.attn_dropout": 0.0 for n in (0, 1)},
        **{f"transformer.h.{n}.attn.resid_dropout": 0.3 for n in (0, 1)},
        **{f"transformer.h.{n}.mlp.dropout": 0.3 for n in (0, 1)},
    }
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    neox = GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=9, bos_token_id=0, eos_token_id=0, **sizes))
    base.set_dropout(neox, 0.3)
    shares = {name: module.p for name, module in neox.named_modules() if isinstance(module, torch.nn.Dropout)}
    assert shares == {
        "gpt_neox.emb_dropout": 0.0,
        "gpt_neox.layers.0.post_attention_dropout": 0.3,
        "gpt_neox.layers.0.post_mlp_dropout": 0.3,
    }


def test_a_model_without_residual_dropout_gets_a_warning():
    with pytest.warns(UserWarning, match=r"LlamaForCausalLM has no residual dropout: dropout=0\.2 is not applied"):
        base.set_dropout(tiny.model("llama"), 0.2)


def test_a_run_is_its_numbers_its_data_and_its_parents_weights(tmp_path):
    tiny.starter()
    config = config_of(tmp_path)
    folder = base.begin("sft", config, ["starter"]).folder
    assert folder.parent == home() / "work"
    assert base.begin("sft", config, ["starter"]).folder == folder
    assert base.begin("sft", config_of(tmp_path, seed=1), ["starter"]).folder != folder
    time.sleep(0.01)
    tiny.starter(seed=1)
    assert base.begin("sft", config, ["starter"]).folder != folder
    again = base.begin("sft", config, ["starter"]).folder
    tiny.write(tmp_path / "d.jsonl", [tiny.chat("yes?", "maybe.")])
    assert base.begin("sft", config, ["starter"]).folder != again  # nothing was stopped half-way, so it begins anew


def test_a_checkout_that_is_not_installed_has_no_version(tmp_path, monkeypatch):
    real = importlib.metadata.version

    def version(package):
        if package == "chaintune":
            raise importlib.metadata.PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    tiny.starter()
    entry = sft.train(config_of(tmp_path))
    assert entry.meta["versions"] == {
        "chaintune": "unknown",
        "torch": real("torch"),
        "transformers": real("transformers"),
    }


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ({"epochs": 0}, "epochs=0 cannot be used; expected a number above 0"),
        ({"batch_size": 0}, "batch_size=0 cannot be used; expected a number of at least 1"),
        ({"dropout": 1.5}, "dropout=1.5 cannot be used; expected a number of at most 1"),
        ({"learning_rate": float("nan")}, "learning_rate=nan cannot be used; expected a number above 0"),
        ({"seed": 2**31}, "seed=2147483648 cannot be used; expected a number of at most 2147483647"),
        ({"validation": "no.jsonl"}, "validation: there is no file no.jsonl; give the path of an existing file"),
        ({"suffix": "A b"}, "suffix 'A b' is not usable; "),
    ],
)
def test_a_number_out_of_its_bounds_is_refused(tmp_path, numbers, sentence):
    tiny.starter()
    with pytest.raises(UsageError) as caught:
        sft.train(config_of(tmp_path, **numbers))
    assert str(caught.value).startswith(sentence)
    assert [entry.name for entry in registry.entries()] == ["starter"]
    assert not os.path.exists(home() / "work")


LOADING = """
import sys, threading
from tuning import base

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) * 1024

import transformers.models.gpt2.modeling_gpt2
before, most, loaded = anonymous(), [], threading.Event()

def watch():
    while not loaded.wait(0.001):
        most.append(anonymous())

watching = threading.Thread(target=watch)
watching.start()
model = base.load(f"hf:{sys.argv[1]}").model
loaded.set()
watching.join()
print(max(most) - before, sum(p.numel() * p.element_size() for p in model.parameters()))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_weights_in_bfloat16_are_never_twice_in_memory(tmp_path):
    """In float32 they are what the process takes: the files are mapped, whose pages the system takes back, and no copy is made of the whole."""
    sizes = {"vocab_size": len(tiny.words()), "n_positions": 96, "n_embd": 512, "n_layer": 12, "n_head": 8}
    GPT2LMHeadModel(GPT2Config(**sizes)).bfloat16().save_pretrained(tmp_path, max_shard_size="20MB")
    tiny.words().save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LOADING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr
    taken, weights = map(int, done.stdout.split()[-2:])
    assert weights > 120 * 2**20
    assert taken < 1.25 * weights
