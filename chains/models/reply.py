"""An answer's text as a message: what was said, the tools that were called, and calls that cannot be read.

A tokenizer that says itself how its model's answers are to be read (`response_template`) is taken at its word; the others are read
by their template's form. Tool calls of a stream come whole, each as soon as its end is there.
"""

import json
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessageChunk, InvalidToolCall, ToolCall, ToolCallChunk
from langchain_core.utils.json import parse_partial_json

from chains.models.tool_forms import LLAMA, OWN, Call, Form, Said, read
from chains.models.tools import Tools

_ID = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Reader:
    """How the answers to one prompt are read; the tokenizer's own way needs the prompt, too."""

    form: Form
    tools: Tools | None
    tokenizer: Any
    prompt_ids: Sequence[int] = ()
    formed: bool = False
    """The answer is calls alone or JSON alone: a call's mark inside a JSON string opens nothing."""

    @property
    def own(self) -> bool:
        """Whether the tokenizer itself says how its answers are read."""
        return getattr(self.tokenizer, "response_template", None) is not None

    def read(self, text: str) -> Said:
        """Return the answer taken apart; without tools, and without a way of the tokenizer's own, it is text."""
        if self.own:
            return self._read_own(text)
        if self.tools is None or self.form is OWN or self.is_json(text):
            return Said(text)
        return read(self.form, text, self.tools.allowed)

    def is_json(self, text: str) -> bool:
        """Say whether an answer that begins with `text` is surely no call, because it began otherwise."""
        return self.formed and not text.startswith(self.form.opens[: len(text)])

    def _read_own(self, text: str) -> Said:
        tools = list(self.tools.definitions) if self.tools else None
        try:
            prompt = self.tokenizer.decode(self.prompt_ids, skip_special_tokens=False)
            parsed = self.tokenizer.parse_response(text, prefix=prompt, tools=tools)
        except ValueError as error:
            return Said("", [Call(None, {}, text, str(error).splitlines()[0])]) if tools else Said(text)
        calls = [_own_call(each) for each in parsed.get("tool_calls") or ()]
        return Said(parsed.get("content") or "", calls, parsed.get("reasoning_content") or parsed.get("thinking") or "")


def _own_call(value: Any) -> Call:
    function = value.get("function", value) if isinstance(value, dict) else {}
    name, given = function.get("name"), function.get("arguments", {})
    raw = json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            return Call(name, {}, given, f"the arguments are no JSON: {error}")
    if not isinstance(name, str) or not isinstance(given, dict):
        return Call(None, {}, raw, 'a call is {"name": …, "arguments": {…}}, and this is none')
    return Call(name, given, raw)


def fields(said: Said) -> dict[str, Any]:
    """Return what the answer is of an AIMessage: content, tool_calls, invalid_tool_calls, and reasoning where there is any."""
    made: dict[str, Any] = {"content": said.text}
    if said.calls:
        made["tool_calls"] = [_valid(call) for call in said.calls if call.error is None]
        made["invalid_tool_calls"] = [_invalid(call) for call in said.calls if call.error is not None]
    if said.reasoning:
        made["additional_kwargs"] = {"reasoning_content": said.reasoning}
    return made


def _new_id() -> str:
    """Return an id of nine letters and digits, which is the only form that Mistral's templates take."""
    return "".join(secrets.choice(_ID) for _ in range(9))


def _valid(call: Call) -> ToolCall:
    return ToolCall(name=call.name or "", args=call.arguments, id=_new_id(), type="tool_call")


def _invalid(call: Call) -> InvalidToolCall:
    return InvalidToolCall(name=call.name, args=call.raw, id=_new_id(), error=call.error, type="invalid_tool_call")


class StreamReader:
    """An answer read while it comes: text goes out at once unless it could be the beginning of a call."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._text = ""
        self._sent = 0
        self._called = 0
        self._plain = reader.tools is None and not reader.own

    def add(self, piece: str) -> list[AIMessageChunk]:
        """Return the chunks that `piece` makes certain."""
        if self._plain:
            return [AIMessageChunk(content=piece)]
        self._text += piece
        until = self._certain()
        said, self._sent = self._text[self._sent : until], max(self._sent, until)
        made = [AIMessageChunk(content=said)] if said else []
        closes = self._reader.form.closes
        if closes and not self._reader.own and closes in self._text[-len(piece) - len(closes) :]:
            made += self._calls(self._reader.read(self._text[: self._text.rindex(closes) + len(closes)]).calls)
        return made

    def finish(self) -> list[AIMessageChunk]:
        """Return what is left of the text, then the calls that have not been sent."""
        if self._plain:
            return []
        said = self._reader.read(self._text)
        made = [AIMessageChunk(content=said.text[self._sent :])] if len(said.text) > self._sent else []
        if said.reasoning:
            made.append(AIMessageChunk(content="", additional_kwargs={"reasoning_content": said.reasoning}))
        return made + self._calls(said.calls)

    def _certain(self) -> int:
        """Return how much of the text so far is text whatever follows: what comes before a call loses the spaces at its end."""
        if self._reader.own or self._reader.form is OWN:
            return 0
        if self._reader.form is LLAMA:
            start = self._text.lstrip()
            if not start or start.startswith("{") or "<|python_tag|>".startswith(start[:14]):
                return 0
            return len(self._text)
        opens = self._reader.form.opens
        if self._reader.is_json(self._text):
            return len(self._text)
        if opens in self._text:
            return len(self._text[: self._text.index(opens)].rstrip())
        held = next(
            (n for n in range(min(len(opens) - 1, len(self._text)), 0, -1) if self._text.endswith(opens[:n])), 0
        )
        return len(self._text[: len(self._text) - held].rstrip())

    def _calls(self, calls: Sequence[Call]) -> list[AIMessageChunk]:
        new = list(enumerate(calls))[self._called :]
        self._called = max(self._called, len(calls))
        return [AIMessageChunk(content="", tool_call_chunks=[_chunk(call, place)]) for place, call in new]


def _chunk(call: Call, place: int) -> ToolCallChunk:
    """Return a whole call as one chunk."""
    given = json.dumps(call.arguments, ensure_ascii=False) if call.error is None else _unreadable(call.raw)
    return ToolCallChunk(name=call.name, args=given, id=_new_id(), index=place, type="tool_call_chunk")


def _unreadable(raw: str) -> str:
    """Return `raw` so that it stays an invalid call: langchain_core mends half a JSON object into a whole one, which it never was."""
    try:
        mended = parse_partial_json(raw)
    except ValueError:
        return raw
    return json.dumps(raw, ensure_ascii=False) if isinstance(mended, dict) else raw
