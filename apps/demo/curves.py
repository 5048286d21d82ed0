"""The learning curves of the four stages as one picture."""

import json
from pathlib import Path

from chains.models import registry
from tuning import curves

PANELS = (
    ("starter", (("loss", "loss (nats a token)"),)),
    ("SFT", (("loss", "loss (nats a token)"),)),
    ("reward model", (("loss", "loss"), ("pair_accuracy", "pairs in order"))),
    ("PPO", (("score", "reward model's score"), ("kl", "KL (nats)"))),
)


def draw(entries: dict[str, registry.Entry], path: Path) -> None:
    """Write a PNG with a panel for each stage, from the `metrics.jsonl` beside each model's weights."""
    shown = []
    for label, lines in PANELS:
        history = [json.loads(line) for line in (entries[label].path / "metrics.jsonl").read_text().splitlines()]
        shown.append(curves.Panel(label, {name: curves.values(history, key) for key, name in lines}))
    curves.draw(shown, path, columns=len(shown))
