"""What a format is: how its rows are known, read into an Item, and written from one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tuning.data.findings import Row
from tuning.data.item import Item, Losses, Misfit, Output, said


@dataclass(frozen=True)
class Shape:
    """A format: `fits` looks at the keys alone; `read` raises Misfit; `write` counts what it cannot carry; `keys` are the ones it knows."""

    name: str
    title: str
    kind: str
    fits: Callable[[Row], bool]
    read: Callable[[Row], Item]
    write: Callable[[Item, Losses], Row]
    keys: frozenset[str] = frozenset()
    pairs: bool = False
    """Holds exactly two answers, the better first."""
    strict: bool = False
    """A hosted service refuses other keys."""


def spare(row: Row, keys: Iterable[str]) -> Row:
    """Return the entries of `row` besides `keys`."""
    return {key: value for key, value in row.items() if key not in keys}


def plain(message: Row, losses: Losses, keep: tuple[str, ...] = ()) -> str:
    """Return the text of a message, counting all that is lost besides `keep`."""
    for key, loss in (("weight", "weight"), ("name", "name"), ("tool_calls", "tools"), ("function_call", "tools")):
        if key in message and key not in keep:
            losses[loss] += 1
    content = message.get("content")
    if isinstance(content, list):
        losses["form" if all(p.get("type") == "text" for p in content if isinstance(p, dict)) else "parts"] += 1
    return said(message)


def best_and_rest(item: Item) -> tuple[Output, Output]:
    """Return the better and the worse of two answers. Raises Misfit where none is better."""
    if len(item.outputs) != 2 or item.outputs[0].rank == item.outputs[1].rank:
        raise Misfit(("ranks-equal", "outputs", {}))
    better, worse = sorted(item.outputs, key=lambda output: output.rank or 0)
    return better, worse


def drop_extra(item: Item, losses: Losses) -> None:
    """Count the keys of a row that its new format has no place for."""
    if item.extra:
        losses["extra"] += 1


def drop_tools(item: Item, losses: Losses) -> None:
    """Count the tools of a row that its new format has no place for."""
    if item.tools:
        losses["tools"] += 1
    if item.parallel is not None:
        losses["parallel"] += 1


def with_tools(row: Row, item: Item) -> Row:
    """Return `row` with the item's tools."""
    if item.tools is not None:
        row["tools"] = item.tools
    if item.parallel is not None:
        row["parallel_tool_calls"] = item.parallel
    return row
