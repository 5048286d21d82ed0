"""`chaintune pretrain` and `chaintune tune sft|rm|ppo|dpo|grpo|loop`: each stage's options are the fields of its configuration."""

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from apps.cli import config_options, show, win
from apps.text import language, text
from tuning import presets
from tuning.configs import (
    DPOConfig,
    GRPOConfig,
    PPOConfig,
    PretrainConfig,
    RewardConfig,
    RoundsConfig,
    SFTConfig,
    check,
)

T = TypeVar("T")
tune = typer.Typer(
    no_args_is_help=True,
    help="Tune a model: demonstrations (sft), a reward model (rm), reinforcement learning (ppo, grpo), or rankings alone (dpo).",
)


def add_to(app: typer.Typer) -> None:
    """Add the training commands to `app`."""
    _add(
        app,
        "pretrain",
        "pretrain",
        PretrainConfig,
        "Make a small language model from plain text.",
        "chaintune pretrain --text corpus.txt --name starter --steps 600",
    )
    _add(
        tune,
        "sft",
        "sft",
        SFTConfig,
        "Fine-tune a model on demonstrations: InstructGPT's first step.",
        "chaintune tune sft --model starter --data train.jsonl --suffix hobanne",
    )
    _add(
        tune,
        "rm",
        "reward",
        RewardConfig,
        "Train a reward model on ranked answers: InstructGPT's second step.",
        "chaintune tune rm --model ft:starter:local:hobanne:… --data rankings.jsonl",
    )
    _add(
        tune,
        "ppo",
        "ppo",
        PPOConfig,
        "Improve a model against a reward model with PPO: InstructGPT's third step.",
        "chaintune tune ppo --policy ft:starter:local:hobanne:… --reward-model ft:starter:local:rm:… --prompts prompts.jsonl",
    )
    _add(
        tune,
        "dpo",
        "dpo",
        DPOConfig,
        "Improve a model by rankings alone, without a reward model or samples.",
        "chaintune tune dpo --model ft:starter:local:hobanne:… --data rankings.jsonl",
    )
    _add(
        tune,
        "grpo",
        "grpo",
        GRPOConfig,
        "Improve a model by groups of answers to a prompt: GRPO, or RLOO.",
        "chaintune tune grpo --policy ft:starter:local:hobanne:… --prompts sums.jsonl --rule exact",
    )
    _add(
        tune,
        "loop",
        "rounds",
        RoundsConfig,
        "Repeat steps 2 and 3: sample and rank answers, retrain the reward model, run PPO.",
        "chaintune tune loop --policy ft:starter:local:hobanne:… --prompts prompts.jsonl --folder loop --rounds 3 --judge ft:starter:local:rm:…",
    )
    app.add_typer(tune, name="tune", rich_help_panel="Tune")


def _add(app: typer.Typer, name: str, stage: str, config: type, help: str, example: str) -> None:
    def run(values: Any, as_json: bool) -> None:
        _train(stage, values, as_json)

    panel = "Tune" if name == "pretrain" else None
    app.command(name, help=f"{help}\n\nExample: {example}", rich_help_panel=panel)(
        config_options.command(config, run, stage if stage in presets.INSTRUCTGPT else None)
    )


def _train(stage: str, config: Any, as_json: bool) -> None:
    check(config)  # before torch loads
    module = importlib.import_module(f"tuning.{stage}")
    more = {"told": _verdict} if stage == "rounds" else {}
    entry = shown(stage, lambda report: module.train(config, report=report, **more))
    if as_json:
        show.as_json({"name": entry.name, "path": str(entry.path), "meta": entry.meta})
        return
    show.say(entry.name)
    show.say(_numbers(entry.meta.get("metrics", {})))


def _verdict(verdict: Any) -> None:
    words = language()
    show.note(text("tune_round", words, round=verdict.round))
    for line in win.said(verdict.win, verdict.policy, verdict.against, words):
        show.note(line)


def shown(label: str, work: Callable[[Callable[[Any], None]], T]) -> T:
    """Return what `work(report)` does, its training's progress and sample answers shown; an interruption says how to go on."""
    words = language()
    try:
        with show.progress(label) as advance:

            def report(at: Any) -> None:
                advance(at.step, at.steps, _numbers(at.metrics))
                for question, answer in at.samples:
                    show.note(text("tune_sample", words, step=at.step, question=question, answer=answer))

            return work(report)
    except KeyboardInterrupt:
        show.note(text("tune_stopped", words))
        raise


def _numbers(metrics: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, int | float))
