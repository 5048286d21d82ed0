"""/v1/files."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from fastapi.responses import FileResponse, Response

from apps.server import files, promised, results
from apps.server.errors import ApiError
from apps.server.pages import page
from apps.server.state import owner_of, state_of

router = APIRouter()


@router.post("/v1/files", responses=promised.answers(promised.File))
async def upload_file(
    request: Request,
    file: Annotated[UploadFile, File()],
    purpose: Annotated[str, Form()],
    anchor: Annotated[str | None, Form(alias="expires_after[anchor]")] = None,
    seconds: Annotated[int | None, Form(alias="expires_after[seconds]")] = None,
) -> Any:
    """Keep a file; one for fine-tuning is JSONL."""
    if purpose not in files.PURPOSES:
        raise ApiError(400, f"purpose {purpose!r} is unknown; use {', '.join(files.PURPOSES)}", param="purpose")
    if anchor not in (None, "created_at") or not (seconds is None or files.EXPIRES[0] <= seconds <= files.EXPIRES[1]):
        raise ApiError(
            400,
            f"expires_after takes anchor created_at and {files.EXPIRES[0]} to {files.EXPIRES[1]} seconds",
            param="expires_after",
        )
    given = (owner_of(request), file.filename or "file", purpose, file.file, seconds)
    return files.as_json(await asyncio.to_thread(files.add, state_of(request).db, *given))


@router.get("/v1/files", responses=promised.answers(promised.Page[promised.File]))
async def list_files(
    request: Request,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10000)] = 10000,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> Any:
    """List the files, newest first."""
    rows = files.listed(state_of(request).db, owner_of(request), purpose)
    return page(rows if order == "desc" else rows[::-1], after, limit, files.as_json)


@router.get("/v1/files/{file_id}", responses=promised.answers(promised.File))
async def retrieve_file(file_id: str, request: Request) -> Any:
    """Show one file."""
    return files.as_json(files.find(state_of(request).db, owner_of(request), file_id))


@router.get("/v1/files/{file_id}/content", responses=promised.BYTES, response_class=FileResponse)
async def file_content(file_id: str, request: Request, raw: bool = False) -> Response:
    """Return a file's bytes; with `raw`, a job's result file as the CSV that its base64 holds."""
    row = files.find(state_of(request).db, owner_of(request), file_id)
    if raw and row["purpose"] == results.PURPOSE:
        return Response(await asyncio.to_thread(results.csv_of, files.path_of(row)), media_type="text/csv")
    return FileResponse(files.path_of(row), media_type="application/octet-stream")


@router.delete("/v1/files/{file_id}", responses=promised.answers(promised.Deleted))
async def delete_file(file_id: str, request: Request) -> Any:
    """Delete a file that no job needs."""
    files.remove(state_of(request).db, owner_of(request), file_id)
    return {"id": file_id, "object": "file", "deleted": True}
