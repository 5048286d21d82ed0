"""The rules for messages, whatever format they came in: who speaks, what, in which order, and that something is learned."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tuning.data.findings import Row
from tuning.data.parse import Problem

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
KEYS = frozenset(
    {"role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call", "refusal", "audio"}
)
MOST_IMAGES = 10
MOST_FUNCTIONS = 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def structure(messages: Sequence[Any], places: Sequence[str], split: bool = True) -> Iterator[Problem]:
    """Yield what is wrong with each message by itself; `split` says that a message's fields have places of their own, as in chat rows."""
    for message, place in zip(messages, places, strict=False):
        inner = f"{place}."
        if not isinstance(message, dict):
            yield "message-type", place, {}
            continue
        if message.get("role") not in ROLES:
            yield "role-unknown", f"{inner}role", {"role": repr(message.get("role"))}
            continue
        yield from _content(message, f"{inner}content" if split else place)
        for key in message.keys() - KEYS:
            yield "message-key-unknown", place, {"key": key}
        name = message.get("name")
        if name is not None and not (isinstance(name, str) and _NAME.fullmatch(name)):
            yield "name-invalid", f"{inner}name", {"name": name}
        if "weight" in message:
            yield from _weight(message, f"{inner}weight")


def _weight(message: Row, place: str) -> Iterator[Problem]:
    if message["role"] != "assistant":
        yield "weight-misplaced", place, {"role": repr(message["role"])}
    elif message["weight"] not in (0, 1) or isinstance(message["weight"], bool):
        yield "weight-invalid", place, {"weight": repr(message["weight"])}


def _content(message: Row, place: str) -> Iterator[Problem]:
    content = message.get("content")
    if isinstance(content, list) and content:
        images = 0
        for number, part in enumerate(content):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            images += kind == "image_url"
            text = kind in ("text", "refusal") and isinstance(part.get("text", part.get("refusal")), str)
            image = kind == "image_url" and message["role"] == "user" and isinstance(part.get("image_url"), dict)
            if not text and not image:
                yield "content-part", f"{place}[{number}]", {"found": repr(kind)}
        if images > MOST_IMAGES:
            yield "images-many", place, {"count": images}
        return
    spoken = isinstance(content, str) and content.strip()
    calls = message["role"] == "assistant" and (
        "tool_calls" in message or "function_call" in message or message.get("refusal")
    )
    if (
        not spoken
        and not (calls and content in (None, ""))
        and not (message["role"] in ("tool", "function") and content == "")
    ):
        yield "content-empty", place, {}


def order(messages: Sequence[Row], places: Sequence[str], field: str = "messages") -> Iterator[Problem]:
    """Yield what is wrong with a chat as a whole: it must end with something the assistant says and that is learned."""
    roles = [message["role"] for message in messages]
    if roles[0] == "assistant":
        yield "assistant-first", places[0], {}
    if roles[-1] != "assistant":
        yield "assistant-last" if "assistant" in roles else "assistant-missing", field, {}
    elif not any(m["role"] == "assistant" and m.get("weight", 1) for m in messages):
        yield "nothing-learned", field, {}
    if "user" not in roles and "assistant" in roles and roles[0] != "assistant":
        yield "user-missing", field, {}


def system_middle(messages: Sequence[Row], places: Sequence[str]) -> Iterator[Problem]:
    """Yield each system message that does not stand at the front."""
    front = True
    for message, place in zip(messages, places, strict=False):
        front = front and message["role"] in ("system", "developer")
        if message["role"] == "system" and not front:
            yield "system-middle", place, {}


def tools(found: Any, parallel: Any, functions: Any = None) -> Iterator[Problem]:
    """Yield what is wrong with a row's tools."""
    if found is not None and not isinstance(found, list):
        yield "tools-invalid", "tools", {}
    for number, tool in enumerate(found if isinstance(found, list) else []):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not (
            isinstance(function, dict)
            and isinstance(function.get("name"), str)
            and tool.get("type") == "function"
            and isinstance(function.get("parameters", {}), dict)
        ):
            yield "tools-invalid", f"tools[{number}]", {}
    count = len(found) if isinstance(found, list) else len(functions) if isinstance(functions, list) else 0
    if count > MOST_FUNCTIONS:
        yield "tools-many", "tools", {"count": count}
    if parallel is not None and not (isinstance(parallel, bool) and found):
        yield "parallel-invalid", "parallel_tool_calls", {}


def calls(messages: Sequence[Row], places: Sequence[str], found: Any, split: bool = True) -> Iterator[Problem]:
    """Yield what is wrong with tool calls: each well formed, of a known tool, and answered before the next turn."""
    names = (
        {t["function"].get("name") for t in found if isinstance(t, dict) and isinstance(t.get("function"), dict)}
        if isinstance(found, list)
        else set()
    )
    waiting: dict[str, str] = {}
    for message, place in zip(messages, places, strict=False):
        if message["role"] == "tool":
            if waiting.pop(str(message.get("tool_call_id")), None) is None:
                yield "answer-orphan", f"{place}.tool_call_id" if split else place, {"id": message.get("tool_call_id")}
            continue
        for id, where in waiting.items():
            yield "call-unanswered", where, {"id": id}
        waiting = {}
        asked = message.get("tool_calls", [])
        if message["role"] != "assistant" or not asked:
            continue
        if not isinstance(asked, list):
            yield "call-invalid", f"{place}.tool_calls", {}
            continue
        for number, call in enumerate(asked):
            where = f"{place}.tool_calls[{number}]" if split else place
            yield from _call(call, where, names)
            if isinstance(call, dict) and isinstance(call.get("id"), str):
                waiting[call["id"]] = where
    if messages and messages[-1]["role"] == "tool":
        for id, where in waiting.items():
            yield "call-unanswered", where, {"id": id}


def _call(call: Any, where: str, names: set[Any]) -> Iterator[Problem]:
    function = call.get("function") if isinstance(call, dict) else None
    if not (
        isinstance(function, dict)
        and isinstance(function.get("name"), str)
        and isinstance(call.get("id"), str)
        and call.get("type") == "function"
    ):
        yield "call-invalid", where, {}
        return
    if not _is_object(function.get("arguments")):
        yield "arguments-json", f"{where}.function.arguments", {}
    if function["name"] not in names:
        yield "tool-unknown", f"{where}.function.name", {"name": function["name"]}


def _is_object(text: Any) -> bool:
    try:
        return isinstance(text, str) and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
