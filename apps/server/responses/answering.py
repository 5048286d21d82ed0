"""What a response is written from, piece by piece: a model of this machine, or another server's chat where `--engine` has the model.

The other server is asked for a chat and never for a response: the conversation that one goes on from is kept here.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from apps.server.chat import prepared, usage
from apps.server.chat_request import ChatRequest
from apps.server.errors import ApiError
from apps.server.merge import merged
from apps.server.responses.writing import Piece
from apps.server.state import State
from apps.server.upstream import Upstream


@dataclass(frozen=True)
class Ending:
    """Why an answer ended, its token counts as a chat tells them, and the log-probabilities of its tokens where they were asked for."""

    finish_reason: str
    usage: Mapping[str, int]
    logprobs: list[Any]


async def answered(state: State, chat: ChatRequest) -> AsyncGenerator[Piece | Ending, None]:
    """Yield an empty piece once the answer is under way, then its pieces, and its ending last."""
    if state.engine is not None and chat.model in await state.engine.models():
        pieces = _elsewhere(state.engine, chat)
    else:
        pieces = _here(state, chat)
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece


async def _here(state: State, chat: ChatRequest) -> AsyncGenerator[Piece | Ending, None]:
    engine, call = await prepared(state, chat)
    from chains.models.reply import StreamReader  # there since the model is loaded; the loop does not wait for it

    reader = StreamReader(call.reader)
    yield Piece()
    async with aclosing(merged([engine.astream(call.requests[0])])) as pieces:
        async for _, piece in pieces:
            for delta in reader.add(piece) if isinstance(piece, str) else reader.finish():
                thought = delta.additional_kwargs.get("reasoning_content", "")
                yield Piece(delta.text, thought, [dict(each) for each in delta.tool_call_chunks])
            if not isinstance(piece, str):
                completion = piece
    facts = call.answer([completion]).facts(completion, call.reader.read(completion.text))["response_metadata"]
    shown = (facts.get("logprobs") or {}).get("content") or []
    yield Ending(facts["finish_reason"], usage(call, [completion]), shown)


async def _elsewhere(engine: Upstream, chat: ChatRequest) -> AsyncGenerator[Piece | Ending, None]:
    body = chat.model_dump(exclude_none=True) | {"stream": True, "stream_options": {"include_usage": True}}
    heard = _Heard()
    async with aclosing(engine.events("/chat/completions", json.dumps(body).encode())) as events:
        begun = False
        async for event in events:
            if not begun:
                begun = True
                yield Piece()
            for row in _rows(event):
                for piece in heard.add(row):
                    yield piece
    if heard.finish_reason is None:
        raise ApiError(502, f"the engine at {engine.url} ended its stream before its answer", "engine_error")
    for piece in heard.rest():
        yield piece
    yield Ending(heard.finish_reason, heard.usage, heard.logprobs)


@dataclass
class _Heard:
    """A chat's stream so far: text goes on at once, thoughts and calls once they are whole."""

    finish_reason: str | None = None
    usage: Mapping[str, int] = field(
        default_factory=lambda: dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0)
    )
    logprobs: list[Any] = field(default_factory=list)
    thought: str = ""
    calls: dict[int, dict[str, str]] = field(default_factory=dict)

    def add(self, row: dict[str, Any]) -> list[Piece]:
        """Take a chunk in and return what can go on."""
        if "error" in row:
            raise ApiError(502, f"the engine failed on its answer: {row['error']}", "engine_error")
        self.usage = row.get("usage") or self.usage
        found: list[Piece] = []
        for choice in row.get("choices") or []:
            delta = choice.get("delta") or {}
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            self.logprobs += (choice.get("logprobs") or {}).get("content") or []
            self.thought += delta.get("reasoning_content") or delta.get("reasoning") or ""
            self._gather(delta.get("tool_calls") or [])
            if text := delta.get("content"):
                found += [*self._thought(), Piece(text)]
        return found

    def rest(self) -> list[Piece]:
        """Return what was kept until the end."""
        calls = [call for _, call in sorted(self.calls.items())]
        return [*self._thought(), *([Piece(calls=calls)] if calls else [])]

    def _thought(self) -> list[Piece]:
        thought, self.thought = self.thought, ""
        return [Piece(reasoning=thought)] if thought else []

    def _gather(self, parts: list[dict[str, Any]]) -> None:
        for part in parts:
            call = self.calls.setdefault(part.get("index") or 0, {"id": "", "name": "", "args": ""})
            function = part.get("function") or {}
            call["id"] = part.get("id") or call["id"]
            call["name"] += function.get("name") or ""
            call["args"] += function.get("arguments") or ""


def _rows(event: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects of some whole server-sent events."""
    lines = (line.removeprefix(b"data:").strip() for line in event.splitlines() if line.startswith(b"data:"))
    return [json.loads(line) for line in lines if line.startswith(b"{")]
