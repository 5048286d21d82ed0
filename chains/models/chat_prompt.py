"""A conversation as the exact tokens that a model reads.

The ids are the chat template's own: one beginning-of-text token, and nothing that a user, a tool or a passage wrote can become a
control token. Tools go through the template; where it has none, into the messages (see chains.models.plain_tools).
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from chains.errors import UsageError
from chains.models import plain_tools
from chains.models.templates import PLAIN_TEMPLATE
from chains.models.tool_forms import MISTRAL, MISTRAL_NAMED, OWN, PLAIN, Form, of_template
from chains.models.tools import Tools
from chains.models.weights import Loaded

_ROLES = {
    "system": "system", "human": "user", "user": "user", "ai": "assistant", "assistant": "assistant",
    "tool": "tool", "function": "tool",
}  # fmt: skip
_ELSEWHERE = {"tool_use", "tool_call", "tool_call_chunk", "invalid_tool_call", "function_call", "reasoning", "thinking"}
"""Blocks of an assistant's message that its `tool_calls` say again, or that are not sent back."""


@dataclass(frozen=True)
class Shown:
    """The prompt as the model gets it."""

    text: str
    token_ids: list[int]

    def __str__(self) -> str:
        return self.text


def form_of(tokenizer: Any) -> Form:
    """Return how this model writes tool calls."""
    template = _template(tokenizer, tools=True)
    form = of_template(template)
    own = form is PLAIN and getattr(tokenizer, "response_template", None) and template and "tools" in template
    return OWN if own else form


def _template(tokenizer: Any, tools: bool) -> str | None:
    """Return the chat template; of several, the one for tools where there are any."""
    template = tokenizer.chat_template
    if isinstance(template, Mapping):
        return template.get("tool_use" if tools else "default") or template.get("default")
    return template


def encode(loaded: Loaded, messages: Sequence[BaseMessage], tools: Tools | None = None) -> list[int]:
    """Return the prompt's token ids. A last message of the assistant's is left open, for the model to go on with."""
    with loaded.encoding:
        ids = _apply(loaded.tokenizer, messages, tools, tokenize=True, return_dict=False, sanitize_control_tokens=True)
    return [int(i) for i in ids]


def show(loaded: Loaded, messages: Sequence[BaseMessage], tools: Tools | None = None) -> Shown:
    """Return the prompt's exact text and token ids."""
    text = _apply(loaded.tokenizer, messages, tools, tokenize=False)
    return Shown(text, encode(loaded, messages, tools))


def text_ids(loaded: Loaded, text: str) -> list[int]:
    """Return the ids of a text alone, nothing added."""
    with loaded.encoding:
        return list(loaded.tokenizer.encode(text, add_special_tokens=False))


def chat_rows(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return each message as the dict that chat templates read. Raises UsageError for a role or a content that is not text."""
    if not messages:
        raise UsageError("the conversation is empty; give at least one message")
    names: dict[str, str] = {}  # of the tools, by the id of the call
    rows = []
    for message in messages:
        if isinstance(message, AIMessage):
            names |= {call["id"]: call["name"] for call in message.tool_calls if call["id"]}
        rows.append(_row(message, names))
    if rows[-1].get("tool_calls"):
        raise UsageError("the conversation ends with a tool call; add the tool's result as a ToolMessage")
    return rows


def _row(message: BaseMessage, names: Mapping[str, str]) -> dict[str, Any]:
    said = getattr(message, "role", message.type)
    if said not in _ROLES:
        raise UsageError(f"the role {said!r} is unknown; use 'system', 'user', 'assistant' or 'tool'")
    row: dict[str, Any] = {"role": _ROLES[said], "content": _text(message)}
    if row["role"] == "tool":
        called = getattr(message, "tool_call_id", None)
        name = message.name or names.get(called or "")
        row |= {key: value for key, value in {"name": name, "tool_call_id": called}.items() if value}
    if isinstance(message, AIMessage):
        row["content"] += "".join(str(call["args"] or "") for call in message.invalid_tool_calls)
        if message.tool_calls:
            row["tool_calls"] = [_call(call) for call in message.tool_calls]
    return row


def _call(call: Any) -> dict[str, Any]:
    return {"type": "function", "id": call["id"], "function": {"name": call["name"], "arguments": call["args"]}}


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    texts = []
    for block in message.content:
        kind = "text" if isinstance(block, str) else block.get("type")
        if kind == "text":
            texts.append(block if isinstance(block, str) else str(block["text"]))
        elif not (isinstance(message, AIMessage) and kind in _ELSEWHERE):
            raise UsageError(f"a message holds {kind!r} content, and local models here read text alone")
    return "".join(texts)


def _apply(tokenizer: Any, messages: Sequence[BaseMessage], tools: Tools | None, **how: Any) -> Any:
    rows = chat_rows(messages)
    template = _template(tokenizer, tools is not None) or PLAIN_TEMPLATE
    form = form_of(tokenizer)
    if form is PLAIN:
        rows = plain_tools.written(rows, tools, system=bool(tools) and _takes_system(tokenizer, template))
    elif form in (MISTRAL, MISTRAL_NAMED):
        rows = _short_ids(rows)
    told = list(tools.definitions) if tools and form is not PLAIN else None
    try:
        return _render(tokenizer, rows, template, tools=told, **how)
    except Exception as error:  # a template may raise anything: jinja's errors, its own refusal of a role, a ValueError
        raise UsageError(f"the model's chat template refuses this conversation: {error}") from error


def _render(tokenizer: Any, rows: list[dict[str, Any]], template: str, **how: Any) -> Any:
    prefill = rows[-1]["role"] == "assistant"
    return tokenizer.apply_chat_template(
        rows, chat_template=template, add_generation_prompt=not prefill, continue_final_message=prefill, **how
    )


def _takes_system(tokenizer: Any, template: str) -> bool:
    """Return whether a system message can come first in this template: Gemma's first refuses, others pass it over."""
    return _renders_system(template, tuple(sorted((k, str(v)) for k, v in tokenizer.special_tokens_map.items())))


@lru_cache(maxsize=64)
def _renders_system(template: str, special: tuple[tuple[str, str], ...]) -> bool:
    from transformers.utils.chat_template_utils import render_jinja_template

    context: dict[str, Any] = dict(special)
    asked = [{"role": "system", "content": "as-system"}, {"role": "user", "content": "as-user"}]
    try:
        rendered: Any = render_jinja_template([asked], chat_template=template, add_generation_prompt=True, **context)
    except Exception:  # a template may raise anything
        return False
    return "as-system" in rendered[0][0]


def _short_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with call ids of nine letters and digits, which Mistral's templates demand; one that is so already stays."""
    made = []
    for row in rows:
        calls = [{**call, "id": _short(call["id"])} for call in row.get("tool_calls", ())]
        row = {**row, "tool_calls": calls} if calls else dict(row)
        if "tool_call_id" in row:
            row["tool_call_id"] = _short(row["tool_call_id"])
        made.append(row)
    return made


def _short(call_id: str | None) -> str:
    if call_id and re.fullmatch(r"[a-zA-Z0-9]{9}", call_id):
        return call_id
    return hashlib.blake2b((call_id or "").encode(), digest_size=5).hexdigest()[:9]
