"""A training's numbers as a picture: a panel for each of them, over the steps.

    curves.draw(curves.panels(history), folder / "curves.png", columns=4)

It is drawn beside every model that is made here; the demo draws the numbers that it tells its story with by the same hand.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Values = tuple[list[int], list[float]]
"""The steps at which something was measured, and what it was."""
WIDTH, HEIGHT = 4.2, 3.2
"""Of a panel, in inches."""
COLOURS = ("tab:blue", "tab:orange")


@dataclass(frozen=True)
class Panel:
    """One picture of one or two numbers, each by its label; a second one has its own axis on the right."""

    title: str
    lines: dict[str, Values]


def values(history: Sequence[dict[str, Any]], name: str) -> Values:
    """Return the steps, counted from 1, at which `name` was measured, and its values."""
    seen = [(i + 1, metrics[name]) for i, metrics in enumerate(history) if name in metrics]
    return [step for step, _ in seen], [value for _, value in seen]


def panels(history: Sequence[dict[str, Any]]) -> list[Panel]:
    """Return a panel for every number that a step of `history` has, in the order in which they come."""
    names = dict.fromkeys(name for metrics in history for name in metrics)
    return [Panel(name, {"": values(history, name)}) for name in names]


def draw(shown: Sequence[Panel], path: Path, columns: int) -> None:
    """Write the panels as a PNG, `columns` of them side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows))
    figure.subplots_adjust(*_margins(columns, rows))
    for number, panel in enumerate(shown):
        _fill(figure.add_subplot(rows, columns, number + 1), panel)
    FigureCanvasAgg(figure).print_png(str(path))


def _margins(columns: int, rows: int) -> tuple[float, ...]:
    """Return where the panels lie, as shares: left, bottom, right, top, and the room between them (a layout that is solved takes seconds)."""
    wide, high = WIDTH * columns, HEIGHT * rows
    return 0.8 / wide, 0.55 / high, 1 - 0.75 / wide, 1 - 0.4 / high, 1.7 / (WIDTH - 1.7), 0.9 / (HEIGHT - 0.9)


def _fill(axis: Any, panel: Panel) -> None:
    for place, (label, (steps, measured)) in enumerate(panel.lines.items()):
        side = axis if place == 0 else axis.twinx()
        side.plot(steps, measured, color=COLOURS[place], alpha=0.25, linewidth=1)
        side.plot(steps, _smooth(measured), color=COLOURS[place], linewidth=1.8, marker="." if len(steps) < 3 else "")
        side.set_ylabel(label, color=COLOURS[place])
        side.ticklabel_format(axis="y", scilimits=(-3, 4))  # narrow: the next panel's label is beside them
    axis.set_title(panel.title)
    axis.set_xlabel("step")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.2)


def _smooth(measured: list[float]) -> list[float]:
    """Return the mean of the last tenth of the values up to each one."""
    window = max(1, len(measured) // 10)
    return [sum(measured[max(0, i - window + 1) : i + 1]) / min(window, i + 1) for i in range(len(measured))]
