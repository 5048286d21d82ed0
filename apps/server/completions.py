"""/v1/completions, the legacy endpoint: texts or token ids are continued as they are, without a chat template."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from apps.server import promised, promised_made, sse
from apps.server.chat_request import Sampling, Text
from apps.server.errors import ApiError
from apps.server.fronted import Fronted
from apps.server.gate import while_here
from apps.server.legacy_logprobs import Logprobs
from apps.server.merge import merged
from apps.server.ownership import check_model
from apps.server.state import State, state_of
from chains.models import awaiting

if TYPE_CHECKING:
    from chains.models import engine as engines
    from chains.models.local_chat import LocalChat

router = APIRouter(route_class=Fronted)
Id = Annotated[int, Field(ge=0, lt=2**31)]
MOST_PROMPTS = 64


class CompletionRequest(Sampling):
    """The body of /v1/completions."""

    prompt: Text | Annotated[list[Id] | list[Text] | list[list[Id]], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    best_of: int | None = None
    suffix: None = None

    @property
    def prompts(self) -> list[str | list[int]]:
        """Every prompt, as text or ids."""
        if isinstance(self.prompt, str) or isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(self.prompt)

    def asked(self) -> dict[str, Any]:
        """Return the settings as LocalChat names them."""
        limit = 16 if self.max_tokens is None else self.max_tokens  # OpenAI's default
        shown = {} if self.logprobs is None else {"logprobs": True, "top_logprobs": self.logprobs}
        return {**self.common(), "max_tokens": max(1, limit), **shown}


@dataclass(frozen=True)
class Call:
    """One body, ready for the engine: n requests for each prompt, in their order."""

    body: CompletionRequest
    engine: "engines.Engine"
    prompts: list[list[int]]
    requests: "list[engines.Request]"
    logprobs: list[Logprobs]
    """Of each prompt, filled where they are to be echoed."""

    def prompt_of(self, place: int) -> int:
        """Return which prompt request `place` continues."""
        return place // (self.body.n or 1)

    def echoed(self, place: int) -> str:
        """Return the prompt's text where it is wanted, else ""."""
        if not self.body.echo:
            return ""
        return str(self.engine.tokenizer.decode(self.prompts[self.prompt_of(place)], skip_special_tokens=False))

    def told(self, place: int, completion: "engines.Completion | None") -> dict[str, Any] | None:
        """Return the log-probabilities of request `place`, where they are wanted."""
        if self.body.logprobs is None:
            return None
        return self.logprobs[self.prompt_of(place)].with_completion(completion).as_json()


@router.post("/v1/completions", responses=promised.streamed(promised_made.Completion))
async def completions(body: CompletionRequest, request: Request) -> Any:
    """Continue one or more texts, whole or as a stream."""
    check_model(request, body.model)
    n, state = body.n or 1, state_of(request)
    if body.best_of not in (None, n):
        raise ApiError(400, f"best_of={body.best_of} is not there; leave it out, or give n", param="best_of")
    if len(body.prompts) > MOST_PROMPTS:
        raise ApiError(400, f"{len(body.prompts)} prompts are too many; send at most {MOST_PROMPTS}", param="prompt")
    if body.max_tokens == 0 and (body.stream or not body.echo):
        raise ApiError(400, "max_tokens=0 makes nothing; it is for echo=true without stream", param="max_tokens")
    if body.stream:
        return await sse.streamed(request, _stream(state, body))
    return await while_here(request, _whole(state, body))


async def _whole(state: State, body: CompletionRequest) -> dict[str, Any]:
    with state.gate.enter(len(body.prompts) * (body.n or 1)):
        call = await _call(state, body)
        if body.max_tokens == 0:
            choices = [_choice(call, place, None) for place in range(len(call.requests))]
            return {**_head(body.model), "choices": choices, "usage": _usage(call, 0)}
        made = await awaiting.completions(call.engine, call.requests)
    choices = [_choice(call, place, each) for place, each in enumerate(made)]
    return {**_head(body.model), "choices": choices, "usage": _usage(call, sum(len(c.token_ids) for c in made))}


async def _stream(state: State, body: CompletionRequest) -> AsyncGenerator[str, None]:
    written, opened = 0, set[int]()
    with state.gate.enter(len(body.prompts) * (body.n or 1)):
        call, head = await _call(state, body), _head(body.model)
        async with aclosing(merged([call.engine.astream(request) for request in call.requests])) as pieces:
            async for place, piece in pieces:
                if place not in opened and (before := call.echoed(place)):
                    yield sse.event({**head, "choices": [_part(place, before)]})
                opened.add(place)
                if isinstance(piece, str):
                    yield sse.event({**head, "choices": [_part(place, piece)]})
                else:
                    written += len(piece.token_ids)
                    yield sse.event({**head, "choices": [{**_choice(call, place, piece), "text": ""}]})
    if body.with_usage:
        yield sse.event({**head, "choices": [], "usage": _usage(call, written)})
    yield sse.DONE


async def _call(state: State, body: CompletionRequest) -> Call:
    return await asyncio.to_thread(_prepared, await state.warm.chat(body.model), body)


def _prepared(model: "LocalChat", body: CompletionRequest) -> Call:
    from chains.models.engine import Request as Asked
    from chains.models.engine import Sampling as Chosen
    from chains.models.settings import SAMPLING, for_call

    settings = for_call(model, body.asked())
    values = settings.model_dump(include=set(SAMPLING))
    seeds = [None if settings.seed is None else (settings.seed + i) % 2**63 for i in range(settings.n)]
    prompts = [_ids(model, prompt) for prompt in body.prompts]
    echoes = bool(body.echo) and body.logprobs is not None
    logprobs = [Logprobs.of_prompt(model, ids if echoes else [], body.logprobs or 0) for ids in prompts]
    requests = [
        Asked(tuple(ids), Chosen(**{**values, "seed": seed}), adapter=model.adapter)
        for ids in prompts
        for seed in seeds
    ]
    return Call(body, model.engine, prompts, requests, logprobs)


def _ids(model: "LocalChat", prompt: str | list[int]) -> list[int]:
    """Return a prompt's ids, with the mark that the tokenizer puts in front of every text; an empty text is that mark alone."""
    tokenizer = model.engine.tokenizer
    if not isinstance(prompt, str):
        if bad := next((i for i in prompt if i >= len(tokenizer)), None):
            raise ApiError(400, f"the prompt has the token {bad}, and the model's are 0 to {len(tokenizer) - 1}")
        return prompt
    ids = [*tokenizer.encode(""), *model.get_token_ids(prompt)]
    first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    return ids or [first]


def _head(model: str) -> dict[str, Any]:
    return {
        "id": f"cmpl-{secrets.token_hex(12)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
    }


def _part(place: int, text: str) -> dict[str, Any]:
    return {"index": place, "text": text, "logprobs": None, "finish_reason": None}


def _choice(call: Call, place: int, completion: "engines.Completion | None") -> dict[str, Any]:
    text, reason = (completion.text, completion.finish_reason) if completion else ("", "length")
    said = {"text": call.echoed(place) + text, "logprobs": call.told(place, completion)}
    return {"index": place, **said, "finish_reason": reason}


def _usage(call: Call, written: int) -> dict[str, int]:
    read = sum(map(len, call.prompts))
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
