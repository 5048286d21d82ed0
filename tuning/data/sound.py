"""Whether an item can be turned into another format: its messages are messages, whatever else may be wrong with them."""

from collections.abc import Iterator
from typing import Any

from tuning.data.item import Item, Misfit
from tuning.data.parse import Problem
from tuning.data.rules_messages import ROLES

WITHOUT_TEXT = ("image_url", "input_audio", "file", "refusal")
"""OpenAI's parts of a message besides text."""


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
    elif isinstance(message.get("content"), list) and (bad := _bad_part(message["content"])) is not None:
        found = message["content"][bad]
        kind = found.get("type") if isinstance(found, dict) else type(found).__name__
        yield "content-part", f"{place}.content[{bad}]", {"found": repr(kind)}
    elif not _are_calls(message.get("tool_calls") or []) or not isinstance(message.get("function_call", {}), dict):
        yield "call-invalid", f"{place}.tool_calls", {}


def _is_content(content: Any) -> bool:
    return content is None or isinstance(content, str | list)


def _bad_part(parts: list[Any]) -> int | None:
    return next((number for number, part in enumerate(parts) if not _is_part(part)), None)


def _is_part(part: Any) -> bool:
    """True for a part of a message whose text is found, or that is known to have none: any other might hold text that would be lost."""
    if not isinstance(part, dict):
        return False
    return isinstance(part.get("text"), str) if part.get("type") == "text" else part.get("type") in WITHOUT_TEXT


def _are_calls(calls: Any) -> bool:
    return isinstance(calls, list) and all(isinstance(c, dict) and isinstance(c.get("function"), dict) for c in calls)
