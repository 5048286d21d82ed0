"""/v1/batches."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field, StringConstraints

from apps.server import files, promised
from apps.server.batches import queue
from apps.server.chat_request import Body
from apps.server.errors import ApiError
from apps.server.pages import page
from apps.server.state import owner_of, state_of
from apps.server.upload_routes import ExpiresAfter

router = APIRouter()


class BatchRequest(Body):
    """The body of a new batch."""

    input_file_id: str
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
    completion_window: Literal["24h"]
    metadata: dict[
        Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]
    ] | None = Field(None, max_length=16)  # fmt: skip
    output_expires_after: ExpiresAfter | None = None


@router.post("/v1/batches", responses=promised.answers(promised.Batch))
async def create_batch(body: BatchRequest, request: Request) -> Any:
    """Put a file of requests into the queue."""
    db, owner = state_of(request).db, owner_of(request)
    try:
        row = files.find(db, owner, body.input_file_id)
    except ApiError as error:
        raise ApiError(400, f"invalid input_file_id: {body.input_file_id}", "invalid_file", "input_file_id") from error
    if row["purpose"] != "batch":
        said = f"{body.input_file_id} was uploaded for {row['purpose']!r}; upload it with purpose 'batch'"
        raise ApiError(400, said, param="input_file_id")
    seconds = body.output_expires_after.seconds if body.output_expires_after else None
    made = await asyncio.to_thread(queue.create, db, owner, body.endpoint, body.input_file_id, body.metadata, seconds)
    return queue.as_json(db, made)


@router.get("/v1/batches", responses=promised.answers(promised.Page[promised.Batch]))
async def list_batches(
    request: Request, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> Any:
    """List the batches, newest first."""
    db = state_of(request).db
    return page(queue.listed(db, owner_of(request)), after, limit, lambda row: queue.as_json(db, row))


@router.get("/v1/batches/{batch_id}", responses=promised.answers(promised.Batch))
async def retrieve_batch(batch_id: str, request: Request) -> Any:
    """Show one batch."""
    db = state_of(request).db
    return queue.as_json(db, queue.owned(db, owner_of(request), batch_id))


@router.post("/v1/batches/{batch_id}/cancel", responses=promised.answers(promised.Batch))
async def cancel_batch(batch_id: str, request: Request) -> Any:
    """End a batch; what is answered by then is in its files."""
    db = state_of(request).db
    queue.owned(db, owner_of(request), batch_id)
    await asyncio.to_thread(queue.cancel, db, batch_id)
    return queue.as_json(db, queue.get(db, batch_id))
