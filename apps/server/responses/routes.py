"""/v1/responses."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from apps.server import promised, promised_made, sse
from apps.server.errors import ApiError
from apps.server.gate import while_here
from apps.server.ownership import check_model
from apps.server.pages import page
from apps.server.responses import store
from apps.server.responses.answering import Ending, answered
from apps.server.responses.request import ResponseRequest
from apps.server.responses.writing import Event, Piece, Writer, opened
from apps.server.state import State, owner_of, state_of

router = APIRouter()


@router.post("/v1/responses", responses=promised.streamed(promised_made.Response))
async def create_response(body: ResponseRequest, request: Request) -> Any:
    """Answer, whole or as a stream of events; the response is kept unless store is false."""
    check_model(request, body.model)
    events = _events(state_of(request), body, owner_of(request))
    if body.stream:
        return await sse.streamed(request, _told(events))
    return await while_here(request, _last(events))


async def _told(events: AsyncGenerator[Event, None]) -> AsyncGenerator[str, None]:
    async with aclosing(events):
        async for event in events:
            yield sse.event(event, event["type"])


async def _last(events: AsyncGenerator[Event, None]) -> Any:
    last: Event = {}
    async with aclosing(events):
        async for event in events:
            last = event
    return last["response"]


async def _events(state: State, body: ResponseRequest, owner: str) -> AsyncGenerator[Event, None]:
    with state.gate.enter(1):
        earlier = await asyncio.to_thread(store.before, state.db, owner, body.previous_response_id)
        pieces = answered(state, body.as_chat(earlier))
        async with aclosing(pieces):
            piece = await anext(pieces)  # empty; what cannot be answered is refused before anything is told
            writer = Writer(opened(body, body.store is not False))
            for event in writer.begin():
                yield event
            async for piece in pieces:
                for event in writer.add(piece) if isinstance(piece, Piece) else ():
                    yield event
    assert isinstance(piece, Ending)
    *closing, ended = writer.end(piece.finish_reason, piece.usage, piece.logprobs)
    for event in closing:
        yield event
    if writer.response["store"]:
        await asyncio.to_thread(store.keep, state.db, owner, writer.response, body.items)
    yield ended


@router.get("/v1/responses/{response_id}", responses=promised.answers(promised_made.Response))
async def retrieve_response(response_id: str, request: Request, stream: bool = False) -> Any:
    """Show a response that is kept."""
    if stream:
        raise ApiError(400, "a response that has ended is not streamed again; leave stream out", param="stream")
    return json.loads(store.find(state_of(request).db, owner_of(request), response_id)["response"])


@router.delete("/v1/responses/{response_id}", responses=promised.answers(promised.Deleted))
async def delete_response(response_id: str, request: Request) -> Any:
    """Delete a response; a conversation does not go on from it any more."""
    await asyncio.to_thread(store.remove, state_of(request).db, owner_of(request), response_id)
    return {"id": response_id, "object": "response.deleted", "deleted": True}


@router.post("/v1/responses/{response_id}/cancel", responses=promised.answers(promised_made.Response))
async def cancel_response(response_id: str, request: Request) -> Any:
    """Refuse: only background responses are cancelled, and there are none. A client that goes away ends its response."""
    store.find(state_of(request).db, owner_of(request), response_id)
    raise ApiError(400, "only a background response can be cancelled, and this one is none", "invalid_state")


@router.get("/v1/responses/{response_id}/input_items", responses=promised.answers(promised.Page[dict[str, Any]]))
async def list_input_items(
    response_id: str, request: Request, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> Any:  # fmt: skip
    """List the items that a response answers."""
    rows = store.input_items(store.find(state_of(request).db, owner_of(request), response_id))
    return page(rows if order == "desc" else rows[::-1], after, limit, lambda row: row)
