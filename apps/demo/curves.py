"""The learning curves of the four stages as one picture."""

import json
from pathlib import Path

from chains.models import registry

PANELS = (
    ("starter", (("loss", "loss (nats a token)"),)),
    ("SFT", (("loss", "loss (nats a token)"),)),
    ("reward model", (("loss", "loss"), ("pair_accuracy", "pairs in order"))),
    ("PPO", (("score", "reward model's score"), ("kl", "KL (nats)"))),
)


def draw(entries: dict[str, registry.Entry], path: Path) -> None:
    """Write a PNG with a panel for each stage, from the `metrics.jsonl` beside each model's weights."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(15, 3.4), layout="constrained")
    for axis, (label, lines) in zip(axes, PANELS, strict=True):
        history = [json.loads(line) for line in (entries[label].path / "metrics.jsonl").read_text().splitlines()]
        steps = [row["step"] for row in history]
        for place, (key, name) in enumerate(lines):
            side = axis if place == 0 else axis.twinx()
            colour = ("tab:blue", "tab:orange")[place]
            values = [row[key] for row in history]
            side.plot(steps, values, color=colour, alpha=0.25, linewidth=1)
            side.plot(steps, _smooth(values), color=colour, linewidth=1.8)
            side.set_ylabel(name, color=colour)
        axis.set_title(label)
        axis.set_xlabel("step")
        axis.grid(alpha=0.2)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _smooth(values: list[float]) -> list[float]:
    """Return the mean of the last tenth of the values up to each one."""
    window = max(1, len(values) // 10)
    return [sum(values[max(0, i - window + 1) : i + 1]) / min(window, i + 1) for i in range(len(values))]
