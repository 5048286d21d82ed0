"""Step 3: the starter, and InstructGPT's three steps on it. Every model lands in the registry."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

from apps.demo.data import Files
from apps.demo.sizes import Sizes
from apps.samples.hobanne import labeler
from apps.samples.hobanne.table import DATA, Question
from apps.starter import corpus
from chains.errors import ModelError, UsageError
from chains.models import registry
from chains.models.engine import Engine
from tuning import base, encode, formats, loop, ppo, pretrain, reward, rollout, sft

Bars = Callable[[str], AbstractContextManager[Callable[[int, int, str], None]]]
"""Opens a progress bar with a label; what it yields is called with how many are done, of how many, and a note."""
MAX_TOKENS = 40
ASKED_TOGETHER = 10
HELD_OUT = 5
"""Every fifth ranking is held out to measure the reward model."""


def starter(folder: Path, sizes: Sizes, seed: int, bars: Bars) -> tuple[registry.Entry, bool]:
    """Return the model `starter`, and whether it had to be made: one made here with the same text and numbers is taken as it is.

    Raises UsageError where the registry has a `starter` that is somebody's own.
    """
    text = folder / "corpus.txt"
    text.write_text(corpus.text([DATA / "rulebook.ko.md", DATA / "rulebook.en.md"]), encoding="utf-8")
    config = pretrain.Config(str(text), steps=sizes.pretrain_steps, width=sizes.width, seed=seed)
    existing = next((entry for entry in registry.entries() if entry.name == "starter"), None)
    if existing and _same(existing, config):
        return existing, False
    if existing and not str(existing.meta.get("config", {}).get("text", "")).endswith("corpus.txt"):
        raise UsageError(
            "the registry has a 'starter' of your own, which the demo would replace; keep it under another name, "
            "or run the demo with another CHAINTUNE_HOME"
        )
    with bars("pretrain") as bar:
        return pretrain.train(config, _report(bar)), True


def _same(entry: registry.Entry, config: pretrain.Config) -> bool:
    made = {**entry.meta.get("config", {}), "text": config.text}
    return made == asdict(config) and list(entry.meta.get("data", {}).values()) == list(
        base.file_hashes(config).values()
    )


def supervised(files: Files, sizes: Sizes, seed: int, bars: Bars) -> registry.Entry:
    """Return the SFT model: InstructGPT's step 1."""
    config = sft.Config(
        "starter",
        str(files.demonstrations),
        suffix="hobanne",
        epochs=sizes.sft_epochs,
        learning_rate=sizes.sft_rate,
        dropout=0.1,
        weight_decay=0.3,
        seed=seed,
    )
    with bars("SFT") as bar:
        return sft.train(config, _report(bar))


def rankings(name: str, asked: list[Question], files: Files, sizes: Sizes, seed: int, bars: Bars) -> tuple[int, int]:
    """Sample K answers a question from the SFT model, let the labeler rank them, write both files, and return their row counts.

    Equal answers to a question are one; a question whose answers all have equal value teaches nothing and is left out.
    """
    order = list(asked)
    random.Random(seed).shuffle(order)
    start = base.load(name)
    engine = Engine(start.model, start.tokenizer)
    rows: list[formats.Row] = []
    with bars("rank") as bar:
        for first in range(0, len(order), ASKED_TOGETHER):
            asked_now = order[first : first + ASKED_TOGETHER]
            said = _answers(engine, asked_now, sizes.answers, seed * 2**32 + first * sizes.answers)
            for question, answers in zip(asked_now, said, strict=True):
                ranks = labeler.rank(question, answers)
                if len(set(ranks)) > 1:
                    prompt = question.row()["messages"][:-1]
                    rows.append(formats.ranking_row(prompt, answers, ranks))
            bar(first + len(asked_now), len(order), "")
    if len(rows) < 2:
        raise ModelError(
            f"the answers to {len(order)} questions gave the labeler nothing to rank: the SFT model must learn longer"
        )
    held_out = rows[::HELD_OUT]
    kept = [row for place, row in enumerate(rows) if place % HELD_OUT]
    return formats.write(files.rankings, kept), formats.write(files.held_out_rankings, held_out)


def _answers(engine: Engine, asked: list[Question], count: int, seed: int) -> list[list[str]]:
    """Return each question's different answers among `count` sampled ones, a little hotter than the model itself for variety."""
    prompts = [
        encode.render(engine.tokenizer, q.row()["messages"][:-1], prompt=True) for q in asked for _ in range(count)
    ]
    drawn = rollout.sample(engine, prompts, MAX_TOKENS, [seed + i for i in range(len(prompts))], temperature=1.2)
    texts = [text.strip() for text in drawn.texts]
    return [list(dict.fromkeys(filter(None, texts[i * count : (i + 1) * count]))) for i in range(len(asked))]


def reward_model(name: str, files: Files, sizes: Sizes, seed: int, bars: Bars) -> registry.Entry:
    """Return the reward model: InstructGPT's step 2."""
    config = reward.Config(
        name,
        str(files.rankings),
        validation=str(files.held_out_rankings),
        demonstrations=str(files.demonstrations),
        suffix="hobanne-rm",
        epochs=sizes.rm_epochs,
        learning_rate=5e-4,
        seed=seed,
    )
    with bars("reward model") as bar:
        return reward.train(config, _report(bar))


def reinforced(name: str, reward_name: str, files: Files, sizes: Sizes, seed: int, bars: Bars) -> registry.Entry:
    """Return the PPO model: InstructGPT's step 3."""
    config = ppo.Config(
        name,
        reward_name,
        str(files.prompts),
        suffix="hobanne-ppo",
        iterations=sizes.iterations,
        batch_size=sizes.batch_size,
        minibatch_size=sizes.batch_size,
        max_tokens=MAX_TOKENS,
        learning_rate=1e-3,
        kl_coefficient=2.0,
        lora_rank=4,  # few directions to move in: a round's noise changes fewer answers than it would through every weight
        ptx=str(files.demonstrations),  # what it was shown stays: PPO-ptx, with demonstrations for the pretraining text
        ptx_coefficient=1.0,
        gae_lambda=0.5,  # the label is at the end of an answer: what came before it gets less of the credit
        warmup_iterations=3,
        ema=0.8,  # and the average of some rounds holds less of it than the last one
        watch_every=0,  # the report's table says how varied the answers are
        seed=seed,
    )
    with bars("PPO") as bar:
        return ppo.train(config, _report(bar))


def _report(bar: Callable[[int, int, str], None]) -> loop.Report:
    shown = ("loss", "pair_accuracy", "score", "kl")

    def report(progress: loop.Progress) -> None:
        note = "  ".join(f"{name} {progress.metrics[name]:.3f}" for name in shown if name in progress.metrics)
        bar(progress.step, progress.steps, note)

    return report
