"""pretrain, tune and eval: the flags are the configuration's fields, and a run ends with a model by name."""

import dataclasses
import json

import pytest
import typer

from apps.cli import main
from apps.cli.app import app
from chains.models import registry
from tuning import configs, formats

STAGES = {
    ("pretrain",): configs.PretrainConfig,
    ("tune", "sft"): configs.SFTConfig,
    ("tune", "rm"): configs.RewardConfig,
    ("tune", "ppo"): configs.PPOConfig,
    ("tune", "dpo"): configs.DPOConfig,
    ("tune", "grpo"): configs.GRPOConfig,
    ("tune", "loop"): configs.RoundsConfig,
}


def command(words):
    found = typer.main.get_command(app)
    for word in words:
        found = found.commands[word]
    return found


@pytest.mark.parametrize("words", STAGES, ids=" ".join)
def test_every_field_is_a_flag_with_its_default_and_help(words):
    flags = {option.name: option for option in command(words).params if option.name not in ("json", "help", "preset")}
    fields = dataclasses.fields(STAGES[words])
    assert list(flags) == [field.name for field in fields]
    for field in fields:
        option = flags[field.name]
        assert option.opts == ["--" + field.name.replace("_", "-")]
        assert option.secondary_opts == (["--no-" + option.opts[0][2:]] if field.type is bool else [])
        assert option.help == field.metadata["help"]
        assert option.required == (field.default is dataclasses.MISSING)
        assert option.required or option.default == field.default


@pytest.fixture(scope="module")
def chats():
    return [formats.chat_row(f"What is {n} and {n}?", f"It is {n + n}.") for n in range(12)]


@pytest.fixture
def tiny(tmp_path, capsys):
    """The smallest model that there can be, made by the command."""
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"What is {n} and {n}? It is {n + n}." for n in range(40)))
    sizes = "--vocab-size 300 --context 96 --layers 1 --width 16 --heads 2 --steps 2 --batch-size 2 --sequence 32"
    assert main(["pretrain", "--text", str(text), "--name", "tiny", *sizes.split()]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "tiny"
    return "tiny"


def test_a_model_is_made_tuned_and_measured(tiny, chats, tmp_path, capsys):
    data = tmp_path / "chat.jsonl"
    formats.write(data, chats)
    tuned = [
        "tune",
        "sft",
        "--model",
        tiny,
        "--data",
        str(data),
        "--suffix",
        "sums",
        "--epochs",
        "1",
        "--batch-size",
        "4",
        "--json",
    ]
    assert main(tuned) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["name"].startswith("ft:tiny:local:sums:")
    assert registry.find(made["name"]).meta == made["meta"]
    assert main(["eval", str(data), "--model", made["name"], "--max-tokens", "4", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert (measured["rows"], measured["exact"]) == (12, 0.0)
    assert measured["perplexity"] > 1
    assert main(["chat", "-m", "hi", "--model", made["name"], "--temperature", "0"]) == 0


def test_sample_answers_are_shown_in_the_readers_language(tiny, chats, tmp_path, capsys, monkeypatch):
    data, held = tmp_path / "chat.jsonl", tmp_path / "held.jsonl"
    formats.write(data, chats[:4])
    formats.write(held, chats[4:6])
    said = {}
    for words in ("en", "ko"):
        monkeypatch.setenv("CHAINTUNE_LANG", words)
        options = "--epochs 1 --batch-size 4 --samples 1 --max-tokens 3 --no-packing"
        command = ["tune", "sft", "--model", tiny, "--data", str(data), "--validation", str(held), *options.split()]
        assert main(command) == 0
        said[words] = capsys.readouterr().err
    assert said["en"].startswith("step 1  What is 4 and 4?\n  → ")
    assert said["ko"].startswith("1단계  What is 4 and 4?\n  → ")


def test_a_reward_model_is_trained_on_rankings(tiny, tmp_path, capsys):
    data = tmp_path / "rankings.jsonl"
    rows = [
        formats.ranking_row([{"role": "user", "content": f"q{n}"}], ["good", "bad", "worse"], [1, 2, 3])
        for n in range(10)
    ]
    formats.write(data, rows)
    assert main(["tune", "rm", "--model", tiny, "--data", str(data), "--json"]) == 0
    name = json.loads(capsys.readouterr().out)["name"]
    assert registry.find(name).kind == "reward"
    assert main(["chat", "-m", "hi", "--model", name]) == 2
    assert "reward model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value", "sentence"),
    [
        ("--batch-size", "0", "batch_size=0 cannot be used; expected a number of at least 1"),
        ("--data", "/nowhere.jsonl", "data: there is no file /nowhere.jsonl"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(tmp_path, capsys, flag, value, sentence):
    data = tmp_path / "chat.jsonl"
    data.write_text("{}\n")
    given = {"--model": "starter", "--data": str(data), flag: value}
    assert main(["tune", "sft", *(word for pair in given.items() for word in pair)]) == 2
    assert capsys.readouterr().err.startswith(sentence)


def test_a_bad_row_is_named_by_file_and_line(tiny, tmp_path, capsys):
    data = tmp_path / "chat.jsonl"
    data.write_text('{"messages": [{"role": "bot", "content": "x"}]}\n')
    assert main(["tune", "sft", "--model", tiny, "--data", str(data)]) == 2
    assert capsys.readouterr().err.startswith(f"{data}:1: messages[0].role: 'bot' is unknown")


def test_eval_of_data_that_is_not_there_loads_nothing(capsys):
    assert main(["eval", "/nowhere.jsonl", "--model", "starter"]) == 2
    assert capsys.readouterr().err.startswith("cannot read /nowhere.jsonl")


def test_a_preset_gives_its_numbers_and_a_written_flag_wins(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("apps.cli.train._train", lambda stage, values, as_json: seen.append(values))
    names = ["--policy", "p", "--reward-model", "r", "--prompts", "f"]
    assert main(["tune", "ppo", *names, "--preset", "instructgpt", "--ptx-examples", "1", "--ema", "0.5"]) == 0
    (config,) = seen
    assert (config.batch_size, config.kl_coefficient, config.warmup_iterations) == (512, 0.02, 10)
    assert (config.ptx_examples, config.ema) == (1, 0.5)


def test_an_unknown_preset_is_named(capsys):
    assert main(["tune", "ppo", "--policy", "p", "--reward-model", "r", "--prompts", "f", "--preset", "chatgpt"]) == 2
    assert "preset 'chatgpt' is unknown; have 'instructgpt'" in capsys.readouterr().err


def test_a_model_has_the_context_that_its_flag_names(tiny):
    assert json.loads((registry.find(tiny).path / "config.json").read_text())["n_positions"] == 96
