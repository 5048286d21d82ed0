"""A response while it is written: each piece of the answer becomes items of the output, and the events that a stream tells of them."""

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.server.responses.request import ResponseRequest

Event = dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """Some more of an answer: of its text, a whole thought, or whole calls (id, name, args)."""

    text: str = ""
    reasoning: str = ""
    calls: Sequence[Mapping[str, Any]] = ()


def opened(body: ResponseRequest, store: bool) -> dict[str, Any]:
    """Return a response of which nothing is there yet."""
    text = body.text.model_dump(by_alias=True, exclude_none=True) if body.text else {"format": {"type": "text"}}
    tools = [tool.model_dump() for tool in body.tools or ()]
    choice = body.tool_choice if isinstance(body.tool_choice, str | None) else body.tool_choice.model_dump()
    return {
        "id": f"resp_{secrets.token_hex(16)}", "object": "response", "created_at": int(time.time()), "status": "in_progress",
        "background": False, "error": None, "incomplete_details": None, "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens, "metadata": body.metadata or {}, "model": body.model, "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False, "previous_response_id": body.previous_response_id,
        "reasoning": {"effort": None, "summary": None}, "service_tier": "default", "store": store,
        "temperature": 1.0 if body.temperature is None else body.temperature, "text": text, "tool_choice": choice or "auto",
        "tools": tools, "top_logprobs": body.top_logprobs or 0, "top_p": 1.0 if body.top_p is None else body.top_p,
        "truncation": "disabled", "usage": None, "user": body.user,
    }  # fmt: skip


class Writer:
    """Writes one response; what its methods yield are the stream's events, numbered."""

    def __init__(self, response: dict[str, Any]) -> None:
        self.response = response
        self._output: list[dict[str, Any]] = response["output"]
        self._told = 0
        self._open: dict[str, Any] | None = None
        """The message that text goes into."""

    def begin(self) -> Iterator[Event]:
        """Tell that the response is there."""
        yield self._event("response.created", response=self._now())
        yield self._event("response.in_progress", response=self._now())

    def add(self, piece: Piece) -> Iterator[Event]:
        """Take a piece of the answer in."""
        for call in piece.calls:
            yield from self._call(call)
        if piece.reasoning:
            yield from self._reasoning(piece.reasoning)
        if piece.text:
            yield from self._text(piece.text)

    def end(self, finish_reason: str, usage: Mapping[str, int], logprobs: list[Any]) -> Iterator[Event]:
        """Tell that the answer has ended; the log-probabilities of all its tokens stand in its last message."""
        if not any(item["type"] in ("message", "function_call") for item in self._output):
            yield from self._message()
        cut = finish_reason == "length"
        yield from self._close("incomplete" if cut else "completed", logprobs)
        self.response |= {
            "status": "incomplete" if cut else "completed", "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "usage": _usage(usage), "completed_at": None if cut else int(time.time()),
        }  # fmt: skip
        yield self._event(f"response.{self.response['status']}", response=self._now())

    def _text(self, text: str) -> Iterator[Event]:
        if self._open is None:
            yield from self._message()
        assert self._open is not None
        self._open["content"][0]["text"] += text
        yield self._event("response.output_text.delta", **self._place(content=True), delta=text, logprobs=[])

    def _message(self) -> Iterator[Event]:
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        self._open = {
            "id": f"msg_{secrets.token_hex(16)}",
            "type": "message",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        self._output.append(self._open)
        yield self._item("added", self._open)
        self._open["content"].append(part)
        yield self._event("response.content_part.added", **self._place(content=True), part=dict(part))

    def _close(self, status: str = "completed", logprobs: list[Any] | None = None) -> Iterator[Event]:
        if self._open is None:
            return
        item, (part,) = self._open, self._open["content"]
        part["logprobs"] = logprobs or []
        place = self._place(content=True)
        yield self._event("response.output_text.done", **place, text=part["text"], logprobs=part["logprobs"])
        yield self._event("response.content_part.done", **place, part=dict(part))
        item["status"], self._open = status, None
        yield self._item("done", item)

    def _call(self, call: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._close()
        item = {"id": f"fc_{secrets.token_hex(16)}", "type": "function_call", "status": "in_progress", "arguments": "",
                "call_id": call["id"], "name": call["name"] or ""}  # fmt: skip
        self._output.append(item)
        yield self._item("added", item)
        item |= {"arguments": call["args"] or "", "status": "completed"}
        yield self._event("response.function_call_arguments.delta", **self._place(), delta=item["arguments"])
        yield self._event(
            "response.function_call_arguments.done", **self._place(), arguments=item["arguments"], name=item["name"]
        )
        yield self._item("done", item)

    def _reasoning(self, text: str) -> Iterator[Event]:
        yield from self._close()
        item = {"id": f"rs_{secrets.token_hex(16)}", "type": "reasoning", "summary": [], "status": "completed",
                "content": [{"type": "reasoning_text", "text": text}]}  # fmt: skip
        self._output.append(item)
        yield self._item("added", {**item, "content": []})
        yield self._item("done", item)

    def _place(self, content: bool = False) -> dict[str, Any]:
        place = {"item_id": self._output[-1]["id"], "output_index": len(self._output) - 1}
        return {**place, "content_index": 0} if content else place

    def _item(self, what: str, item: dict[str, Any]) -> Event:
        return self._event(f"response.output_item.{what}", output_index=len(self._output) - 1, item=_copy(item))

    def _now(self) -> dict[str, Any]:
        return _copy(self.response)

    def _event(self, kind: str, **fields: Any) -> Event:
        self._told += 1
        return {"type": kind, "sequence_number": self._told - 1, **fields}


def _copy(value: dict[str, Any]) -> dict[str, Any]:
    """Return `value` as it is now; it goes on changing."""
    copied: dict[str, Any] = json.loads(json.dumps(value))
    return copied


def _usage(usage: Mapping[str, int]) -> dict[str, Any]:
    return {
        "input_tokens": usage["prompt_tokens"], "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage["completion_tokens"], "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }  # fmt: skip
