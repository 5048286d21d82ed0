"""/v1/chat/completions: the messages go to a LocalChat's engine, where all requests meet, and its answer comes back in OpenAI's shape."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from apps.server import promised, promised_made, sse
from apps.server.chat_request import ChatRequest, messages_of
from apps.server.fronted import Fronted
from apps.server.gate import while_here
from apps.server.merge import merged
from apps.server.ownership import check_model
from apps.server.state import State, state_of
from chains.models import awaiting

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, AIMessageChunk

    from chains.models.engine import Completion, Engine
    from chains.models.exchange import Posed

router = APIRouter(route_class=Fronted)


@router.post("/v1/chat/completions", responses=promised.streamed(promised_made.Chat))
async def chat_completions(body: ChatRequest, request: Request) -> Any:
    """Answer a conversation, whole or as a stream of server-sent events."""
    check_model(request, body.model)
    state = state_of(request)
    if body.stream:
        return await sse.streamed(request, _stream(state, body))
    return await while_here(request, _whole(state, body))


async def prepared(state: State, body: ChatRequest) -> "tuple[Engine, Posed]":
    """Return the engine and what it is asked, made off the event loop."""
    model = await state.warm.chat(body.model)
    messages = await asyncio.to_thread(messages_of, body.messages)
    call = await asyncio.to_thread(model.prepare, messages, **body.asked())
    return model.engine, call


async def _whole(state: State, body: ChatRequest) -> dict[str, Any]:
    with state.gate.enter(body.n or 1):
        engine, call = await prepared(state, body)
        from langchain_core.messages import AIMessage  # there since the model is loaded; no start waits for it

        completions = await awaiting.completions(engine, call.requests)
    said = [generation.message for generation in call.answer(completions).result().generations]
    return {
        **_head("chat.completion", body.model),
        "choices": [_choice(place, message) for place, message in enumerate(said) if isinstance(message, AIMessage)],
        "usage": usage(call, completions),
    }


async def _stream(state: State, body: ChatRequest) -> AsyncGenerator[str, None]:
    with state.gate.enter(body.n or 1):
        engine, call = await prepared(state, body)
        from chains.models.reply import StreamReader  # as above

        head = _head("chat.completion.chunk", body.model)
        readers = [StreamReader(call.reader) for _ in call.requests]
        completions: list[Completion] = []
        opened: set[int] = set()
        async with aclosing(merged([engine.astream(request) for request in call.requests])) as pieces:
            async for place, piece in pieces:
                if place not in opened:
                    opened.add(place)
                    yield _chunk(head, place, {"role": "assistant", "content": ""})
                if isinstance(piece, str):
                    deltas = readers[place].add(piece)
                else:
                    deltas = readers[place].finish()
                    completions.append(piece)
                for delta in deltas:
                    yield _chunk(head, place, _delta(delta))
                if not isinstance(piece, str):
                    yield _last(head, place, call, piece)
    if body.with_usage:
        yield sse.event({**head, "choices": [], "usage": usage(call, completions)})
    yield sse.DONE


def _head(kind: str, model: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{secrets.token_hex(12)}", "object": kind, "created": int(time.time()), "model": model}


def usage(call: "Posed", completions: "Sequence[Completion]") -> dict[str, int]:
    """Return the token counts of a prompt that was answered once or more."""
    read, written = len(call.requests[0].prompt_ids), sum(len(each.token_ids) for each in completions)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _choice(place: int, message: "AIMessage") -> dict[str, Any]:
    calls = _calls(message)
    said: dict[str, Any] = {"role": "assistant", "content": message.text if message.text or not calls else None}
    if calls:
        said["tool_calls"] = calls
    if reasoning := message.additional_kwargs.get("reasoning_content"):
        said["reasoning_content"] = reasoning
    facts = message.response_metadata
    said["refusal"] = None
    return {"index": place, "message": said, "logprobs": facts.get("logprobs"), "finish_reason": facts["finish_reason"]}


def _calls(message: "AIMessage") -> list[dict[str, Any]]:
    whole = [(call, json.dumps(call["args"], ensure_ascii=False)) for call in message.tool_calls]
    cut = [(call, call["args"] or "") for call in message.invalid_tool_calls]
    return [
        {"id": call["id"], "type": "function", "function": {"name": call["name"] or "", "arguments": arguments}}
        for call, arguments in [*whole, *cut]
    ]


def _delta(piece: "AIMessageChunk") -> dict[str, Any]:
    if piece.tool_call_chunks:
        return {"tool_calls": [_call_delta(dict(call)) for call in piece.tool_call_chunks]}
    if reasoning := piece.additional_kwargs.get("reasoning_content"):
        return {"reasoning_content": reasoning}
    return {"content": piece.text}


def _call_delta(call: dict[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"] or "", "arguments": call["args"]}
    return {"index": call["index"], "id": call["id"], "type": "function", "function": function}


def _chunk(head: dict[str, Any], place: int, delta: dict[str, Any]) -> str:
    return sse.event({**head, "choices": [{"index": place, "delta": delta, "logprobs": None, "finish_reason": None}]})


def _last(head: dict[str, Any], place: int, call: "Posed", completion: "Completion") -> str:
    """Return the chunk that ends an answer: why it ended, and the log-probabilities of all its tokens."""
    answer = call.answer([completion])
    facts = answer.facts(completion, call.reader.read(completion.text))["response_metadata"]
    choice = {
        "index": place,
        "delta": {},
        "logprobs": facts.get("logprobs"),
        "finish_reason": facts["finish_reason"],
    }
    return sse.event({**head, "choices": [choice]})
