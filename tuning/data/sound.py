"""Whether an item can be turned into another format: its messages are messages, whatever else may be wrong with them."""

from collections.abc import Iterator
from typing import Any

from tuning.data.item import Item, Misfit
from tuning.data.parse import Problem
from tuning.data.rules_messages import ROLES


def assert_sound(item: Item) -> None:
    """Raise Misfit at the first thing that keeps the item from being turned into another format."""
    problem = next(_problems(item), None)
    if problem:
        raise Misfit(problem)


def _problems(item: Item) -> Iterator[Problem]:
    for message, place in zip(item.messages, item.places, strict=False):
        yield from _message(message, place)
    for output in item.outputs:
        for message in output.messages:
            yield from _message(message, output.place)
    if item.tools is not None and not (
        isinstance(item.tools, list) and all(isinstance(tool, dict) for tool in item.tools)
    ):
        yield "tools-invalid", "tools", {}


def _message(message: Any, place: str) -> Iterator[Problem]:
    if not isinstance(message, dict):
        yield "message-type", place, {}
    elif message.get("role") not in ROLES:
        yield "role-unknown", f"{place}.role", {"role": repr(message.get("role"))}
    elif not _is_content(message.get("content")):
        yield "content-empty", f"{place}.content", {}
    elif not _are_calls(message.get("tool_calls") or []) or not isinstance(message.get("function_call", {}), dict):
        yield "call-invalid", f"{place}.tool_calls", {}


def _is_content(content: Any) -> bool:
    if isinstance(content, list):
        return all(isinstance(part, dict) for part in content)
    return content is None or isinstance(content, str)


def _are_calls(calls: Any) -> bool:
    return isinstance(calls, list) and all(isinstance(c, dict) and isinstance(c.get("function"), dict) for c in calls)
