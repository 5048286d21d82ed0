"""Every option of supervised fine-tuning does what it says."""

import importlib.util
import os
import signal
from itertools import pairwise

import pytest
import torch

from chains.errors import UsageError
from chains.home import home
from chains.models.load import load_model
from tests import tiny
from tuning import base, encode, pretrain, sft

ROWS = [
    tiny.chat("What colour is the sky?", "The sky is blue."),
    tiny.chat("What colour is the grass?", "The grass is green."),
    tiny.chat("몇 명이 뛰나요?", "여섯 명이 뛰어요."),
    tiny.chat("공은 무슨 색인가요?", "공은 빨간색이에요."),
]
HELD = [tiny.chat("What colour is the sky?", "bad no bad no maybe"), tiny.chat("yes?", "no thanks")]


def make(tmp_path, rows=ROWS, model="starter", architecture="gpt2", **numbers):
    tiny.starter(architecture=architecture)
    data = tiny.write(tmp_path / "train.jsonl", rows)
    usual = {"data": data, "epochs": 3, "batch_size": 2, "learning_rate": 1e-2, "dropout": 0.0, "seed": 3}
    return sft.Config(model, **{**usual, **numbers})


def taught(tmp_path, architecture="gpt2"):
    """Return a model that has learned other answers: a random one's output head is too small for an adapter to say anything."""
    return sft.train(make(tmp_path, rows=HELD, epochs=30, architecture=architecture)).name


def held(tmp_path):
    return tiny.write(tmp_path / "held.jsonl", HELD)


def weights(entry):
    return (entry.path / "model.safetensors").read_bytes()


def losses(config):
    seen = []
    entry = sft.train(config, lambda progress: seen.append(progress.metrics["loss"]))
    return entry, seen


def held_loss(name):
    start = base.load(name)
    return sft.mean_loss(start.model, [encode.example(start.tokenizer, row) for row in HELD])


@pytest.mark.parametrize("numbers", [{"packing": False}, {"accumulate": 2}, {"gradient_checkpointing": True}], ids=str)
def test_a_way_to_compute_changes_no_loss(tmp_path, numbers):
    _, expected = losses(make(tmp_path))
    _, seen = losses(make(tmp_path, **numbers))
    assert seen == pytest.approx(expected, rel=1e-3)


def test_bfloat16_learns_the_same_curve_and_publishes_float32(tmp_path):
    _, expected = losses(make(tmp_path))
    entry, seen = losses(make(tmp_path, dtype="bfloat16"))
    assert seen == pytest.approx(expected, rel=2e-2) and seen != expected
    assert base.load(entry.name).model.dtype == torch.float32


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lora_learns_and_the_published_model_needs_no_base(tmp_path, dtype):
    start = taught(tmp_path)
    entry, seen = losses(make(tmp_path, model=start, lora_rank=4, epochs=25, learning_rate=2e-2, dtype=dtype))
    assert seen[-1] < 0.75 * seen[0]
    assert not (entry.path / "adapter_config.json").exists()
    before, after = (base.load(name).model for name in (start, entry.name))
    assert sft.mean_loss(after, [encode.example(tiny.words(), row) for row in ROWS]) < 0.8 * seen[0]
    assert torch.equal(before.transformer.wte.weight, after.transformer.wte.weight)
    assert not torch.equal(before.transformer.h[0].attn.c_attn.weight, after.transformer.h[0].attn.c_attn.weight)


def test_a_larger_alpha_moves_the_model_further(tmp_path):
    def moved(alpha):
        entry, _ = losses(make(tmp_path, lora_rank=2, lora_alpha=alpha))
        one, other = (base.load(name).model.transformer.h[0].attn.c_attn.weight for name in ("starter", entry.name))
        return (one - other).norm().item()

    assert moved(32) > 1.5 * moved(4)


@pytest.mark.skipif(
    not importlib.util.find_spec("bitsandbytes"), reason="bitsandbytes is not installed (chaintune[qlora])"
)
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_qlora_learns_over_weights_in_4_bits(tmp_path, architecture, monkeypatch):
    from tuning import frozen

    loaded = []
    real = frozen.load
    monkeypatch.setattr(frozen, "load", lambda config: loaded.append(real(config)) or loaded[-1])
    model = taught(tmp_path, architecture)
    entry, seen = losses(make(tmp_path, model=model, lora_rank=4, quantize=True, epochs=25, learning_rate=2e-2))
    kinds = {type(module).__name__ for module in loaded[0].model.modules()}
    assert "Linear4bit" in kinds and seen[-1] < 0.75 * seen[0]
    start = base.load(entry.name)  # float32, the adapter merged
    assert start.model.dtype == torch.float32 and not hasattr(start.model.config, "quantization_config")
    assert sft.mean_loss(start.model, [encode.example(start.tokenizer, row) for row in ROWS]) < 0.8 * seen[0]


def test_quantize_without_bitsandbytes_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(UsageError, match=r"quantize needs bitsandbytes; run: pip install 'chaintune\[qlora\]'"):
        sft.train(make(tmp_path, lora_rank=4, quantize=True))


def test_the_rate_warms_up_and_falls_to_a_tenth(tmp_path):
    rates = []
    sft.train(make(tmp_path, epochs=10, warmup=0.2), lambda p: rates.append(p.metrics["learning_rate"]))
    assert rates[:4] == pytest.approx([2.5e-3, 5e-3, 7.5e-3, 1e-2])
    assert all(a >= b for a, b in pairwise(rates[3:])) and rates[-1] == pytest.approx(1e-3, rel=0.15)


def test_the_epoch_with_the_least_validation_loss_is_published(tmp_path):
    """The held-out answers contradict what is learned, so the first epoch is the best of them."""
    curve = []
    config = make(tmp_path, validation=held(tmp_path), publish="validation", epochs=6)
    entry = sft.train(config, lambda p: curve.append(p.metrics.get("validation_loss")))
    measured = {step: loss for step, loss in enumerate(curve, 1) if loss is not None}
    best = min(measured, key=measured.get)
    assert best < 12
    assert entry.meta["published"] == {"by": "validation_loss", "value": measured[best], "step": best}
    assert held_loss(entry.name) == pytest.approx(measured[best], rel=1e-4)
    last = sft.train(make(tmp_path, validation=held(tmp_path), epochs=6))
    assert held_loss(last.name) == pytest.approx(measured[12], rel=1e-4) and "published" not in last.meta


def test_the_epoch_with_the_best_reward_is_published(tmp_path):
    tiny.judge()
    curve = []
    config = make(tmp_path, validation=held(tmp_path), publish="reward", reward_model="judge", epochs=20, max_tokens=8)
    entry = sft.train(config, lambda p: curve.append(p.metrics.get("reward")))
    measured = {step: reward for step, reward in enumerate(curve, 1) if reward is not None}
    assert list(measured) == list(range(2, 41, 2)) and len(set(measured.values())) > 1
    best = max(measured, key=measured.get)
    assert entry.meta["published"] == {"by": "reward", "value": measured[best], "step": best}
    assert entry.meta["parents"] == ["starter", "judge"]
    from chains.models.scorer import load_scorer

    engine = load_model(entry.name, temperature=0, max_tokens=8)
    prompts = [row["messages"][:-1] for row in HELD]
    said = [engine.invoke([("human", prompt[0]["content"])]).content for prompt in prompts]
    scores = load_scorer("judge").score_many(list(zip(prompts, said, strict=True)))
    assert sum(scores) / 2 == pytest.approx(measured[best], abs=1e-4)


def test_training_stops_when_the_measure_gets_no_better(tmp_path):
    steps = []
    config = make(tmp_path, validation=held(tmp_path), patience=2, epochs=30)
    sft.train(config, lambda p: steps.append(p.metrics.get("validation_loss")))
    measured = [loss for loss in steps if loss is not None]
    assert len(measured) < 30
    assert min(measured) == measured[-3] and len(steps) == 2 * len(measured)


def test_samples_are_shown_and_change_nothing(tmp_path):
    seen = []
    config = make(tmp_path, validation=held(tmp_path), samples=1, max_tokens=5)
    entry = sft.train(config, lambda p: seen.append(p.samples))
    assert [len(samples) for samples in seen] == [0, 1, 0, 1, 0, 1]
    ((question, answer),) = seen[1]
    assert question == "What colour is the sky?" and isinstance(answer, str)
    model = load_model(entry.name, temperature=0, max_tokens=5)
    assert model.invoke(question).content == seen[-1][0][1]
    assert weights(entry) == weights(sft.train(make(tmp_path, validation=held(tmp_path))))


@pytest.mark.parametrize(
    "how",
    [
        {"publish": "validation", "patience": 3, "samples": 1, "max_tokens": 4},
        {"lora_rank": 2, "dtype": "bfloat16", "dropout": 0.1},
        {"dtype": "bfloat16", "accumulate": 2, "dropout": 0.1},
    ],
    ids=str,
)
def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path, how):
    config = make(tmp_path, validation=held(tmp_path), **how)
    whole = sft.train(config)

    def interrupt(progress):
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        sft.train(config, interrupt)
    steps = []
    again = sft.train(config, lambda progress: steps.append(progress.step))
    assert steps == [4, 5, 6]
    assert weights(again) == weights(whole) and again.meta["metrics"] == whole.meta["metrics"]
    assert again.meta.get("published") == whole.meta.get("published")
    assert not list((home() / "work").glob("*"))


def test_a_checkpoint_of_an_adapter_holds_the_adapter_alone(tmp_path):
    config = make(tmp_path, lora_rank=2)
    with pytest.raises(KeyboardInterrupt):
        sft.train(config, lambda progress: os.kill(os.getpid(), signal.SIGINT))
    (file,) = (home() / "work").glob("*/step-*/weights.model.safetensors")
    assert file.stat().st_size < 0.3 * (tiny.starter().path / "model.safetensors").stat().st_size


def prompt(row):
    return row["messages"][0]["content"], row["messages"][1]["content"]


FORMATS = {
    "completion": lambda row: {"prompt": prompt(row)[0], "completion": prompt(row)[1]},
    "trl-preference": lambda row: {
        "prompt": row["messages"][:1],
        "chosen": row["messages"][1:],
        "rejected": [{"role": "assistant", "content": "bad"}],
    },
    "openai-preference": lambda row: {
        "input": {"messages": row["messages"][:1]},
        "preferred_output": row["messages"][1:],
        "non_preferred_output": [{"role": "assistant", "content": "bad"}],
    },
    "rankings": lambda row: tiny.ranking(prompt(row)[0], ["bad", prompt(row)[1], "no"], [2, 1, 3]),
    "alpaca": lambda row: {"instruction": prompt(row)[0], "input": "", "output": prompt(row)[1]},
}


@pytest.mark.parametrize("name", FORMATS)
def test_other_formats_teach_what_the_same_chats_do(tmp_path, name):
    expected, _ = losses(make(tmp_path))
    config = make(tmp_path, rows=[FORMATS[name](row) for row in ROWS])
    assert weights(sft.train(config)) == weights(expected)


def test_a_row_that_shows_no_answer_is_named(tmp_path):
    config = make(tmp_path, rows=[{"prompt": "yes?", "completion": "no"}, {"prompt": "yes?", "completion": ""}])
    with pytest.raises(UsageError, match=r"train\.jsonl:2: .*completion"):
        sft.train(config)


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ({"quantize": True}, "quantize freezes the weights, so that nothing trains; give lora_rank=8 with it"),
        ({"publish": "validation"}, "publish='validation' has nothing to measure; give validation=FILE with it"),
        ({"publish": "reward"}, "publish='reward' has nothing to measure; give reward_model=NAME with it"),
        ({"reward_model": "judge"}, "reward_model has no prompts to score answers to; give validation=FILE with it"),
        ({"patience": 1}, "patience has nothing to measure; give validation=FILE with it"),
        ({"samples": 2}, "samples has no prompts to show answers to; give validation=FILE with it"),
        ({"dtype": "fp16"}, "dtype='fp16' is unknown; use 'float32' or 'bfloat16'"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(tmp_path, numbers, sentence):
    with pytest.raises(UsageError) as caught:
        sft.train(make(tmp_path, **numbers))
    assert str(caught.value) == sentence


def test_pretraining_text_is_learned_among_the_demonstrations(tmp_path):
    """A third of the rows: two windows beside four demonstrations are three steps an epoch, of two rows each."""
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(["yes no maybe good bad please thanks " * 8] * 5), encoding="utf-8")
    plain, without = losses(make(tmp_path, epochs=6))
    entry, seen = losses(make(tmp_path, epochs=6, pretraining=str(text), pretraining_share=1 / 3))
    assert (len(without), len(seen)) == (6 * 2, 6 * 3)
    assert list(entry.meta["data"]) == [str(tmp_path / "train.jsonl"), str(text)]
    windows = pretrain.examples(str(text), tiny.words(), 96, 3, seed=9)
    assert [len(each.ids) for each in windows] == [96] * 3 and all(sum(each.learned) == 95 for each in windows)
    untaught, taught = (sft.mean_loss(base.load(made.name).model, windows) for made in (plain, entry))
    assert taught < 0.75 * untaught
    demonstrations = [encode.example(tiny.words(), row) for row in ROWS]
    start = sft.mean_loss(base.load("starter").model, demonstrations)
    assert sft.mean_loss(base.load(entry.name).model, demonstrations) < 0.7 * start
    _, again = losses(make(tmp_path, epochs=6, pretraining=str(text), pretraining_share=1 / 3))
    assert again == seen


def test_a_pretraining_text_that_is_too_short_is_refused(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("yes no")
    with pytest.raises(UsageError, match="holds 3 tokens; the pretraining mix needs more than 96"):
        sft.train(make(tmp_path, pretraining=str(text)))
