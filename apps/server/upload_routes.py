"""/v1/uploads."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Request, UploadFile
from pydantic import Field, StringConstraints

from apps.server import files, promised, uploads
from apps.server.chat_request import Body
from apps.server.state import owner_of, state_of

router = APIRouter()
Name = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class ExpiresAfter(Body):
    """When a file goes."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=files.EXPIRES[0], le=files.EXPIRES[1])]


class UploadRequest(Body):
    """The body of a new upload."""

    bytes: Annotated[int, Field(ge=1, le=uploads.MOST_BYTES)]
    filename: Name
    mime_type: Name
    purpose: Literal["fine-tune", "batch", "assistants", "vision", "user_data", "evals"]
    expires_after: ExpiresAfter | None = None


class CompleteRequest(Body):
    """The body that ends an upload: its parts in their order."""

    part_ids: Annotated[list[Name], Field(min_length=1, max_length=10000)]
    md5: Name | None = None


@router.post("/v1/uploads", responses=promised.answers(promised.Upload))
async def create_upload(body: UploadRequest, request: Request) -> Any:
    """Begin an upload."""
    db, seconds = state_of(request).db, body.expires_after.seconds if body.expires_after else None
    given = (db, owner_of(request), body.filename, body.purpose, body.bytes, body.mime_type, seconds)
    return uploads.as_json(db, await asyncio.to_thread(uploads.create, *given))


@router.post("/v1/uploads/{upload_id}/parts", responses=promised.answers(promised.Part))
async def add_part(upload_id: str, request: Request, data: Annotated[UploadFile, File()]) -> Any:
    """Keep one part, of at most 64 MiB."""
    db = state_of(request).db
    return uploads.part_as_json(await asyncio.to_thread(uploads.add_part, db, owner_of(request), upload_id, data.file))


@router.post("/v1/uploads/{upload_id}/complete", responses=promised.answers(promised.Upload))
async def complete_upload(upload_id: str, body: CompleteRequest, request: Request) -> Any:
    """Make the parts a file."""
    db = state_of(request).db
    given = (db, owner_of(request), upload_id, body.part_ids, body.md5)
    return uploads.as_json(db, await asyncio.to_thread(uploads.complete, *given))


@router.post("/v1/uploads/{upload_id}/cancel", responses=promised.answers(promised.Upload))
async def cancel_upload(upload_id: str, request: Request) -> Any:
    """End an upload without a file."""
    db = state_of(request).db
    return uploads.as_json(db, await asyncio.to_thread(uploads.cancel, db, owner_of(request), upload_id))
