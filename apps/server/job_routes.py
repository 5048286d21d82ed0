"""/v1/fine_tuning/jobs."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from apps.server import files, promised, queue
from apps.server.database import Database
from apps.server.errors import ApiError
from apps.server.grader_routes import check_grader
from apps.server.job_request import JobRequest
from apps.server.ownership import check_model
from apps.server.pages import page
from apps.server.state import owner_of, state_of
from apps.server.warm import served

router = APIRouter()


@router.post("/v1/fine_tuning/jobs", responses=promised.answers(promised.Job))
async def create_job(body: JobRequest, request: Request) -> Any:
    """Put a job into the queue."""
    state, owner = state_of(request), owner_of(request)
    if body.grader:
        check_grader(request, body.grader)
    check_model(request, body.model)
    _, kind = served(body.model, state.settings)
    if kind != "chat":
        raise ApiError(400, f"{body.model!r} is a reward model; fine-tune a chat model", "invalid_model", "model")
    for param in ("training_file", "validation_file"):
        _check_file(request, getattr(body, param), param)
    method = queue.Method(body.kind, body.chosen, body.grader.model_dump(exclude_unset=True) if body.grader else None)
    row = await asyncio.to_thread(
        queue.create, state.db, owner, body.model, body.training_file, body.validation_file, body.suffix or "",
        body.seed, method, body.metadata,
    )  # fmt: skip
    return queue.as_json(row)


def _check_file(request: Request, file_id: str | None, param: str) -> None:
    if file_id is None:
        return
    try:
        row = files.find(state_of(request).db, owner_of(request), file_id)
    except ApiError as error:
        raise ApiError(400, f"invalid {param}: {file_id}", "invalid_file", param) from error
    if row["purpose"] != "fine-tune":
        raise ApiError(
            400, f"{file_id} was uploaded for {row['purpose']!r}; upload it with purpose 'fine-tune'", param=param
        )


@router.get("/v1/fine_tuning/jobs", responses=promised.answers(promised.Page[promised.Job]))
async def list_jobs(request: Request, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Any:
    """List the jobs, newest first; `metadata[key]=value` keeps those that carry it, `metadata=null` those without any."""
    rows = [queue.as_json(row) for row in queue.listed(state_of(request).db, owner_of(request))]
    for name, value in request.query_params.items():
        if name.startswith("metadata[") and name.endswith("]"):
            rows = [row for row in rows if (row["metadata"] or {}).get(name[9:-1]) == value]
        elif name == "metadata" and value == "null":
            rows = [row for row in rows if not row["metadata"]]
    return page(rows, after, limit, lambda row: row)


@router.get("/v1/fine_tuning/jobs/{job_id}", responses=promised.answers(promised.Job))
async def retrieve_job(job_id: str, request: Request) -> Any:
    """Show one job."""
    return queue.as_json(queue.owned(state_of(request).db, owner_of(request), job_id))


@router.post("/v1/fine_tuning/jobs/{job_id}/cancel", responses=promised.answers(promised.Job))
async def cancel_job(job_id: str, request: Request) -> Any:
    """Cancel a job."""
    return _changed(request, job_id, queue.cancel)


@router.post("/v1/fine_tuning/jobs/{job_id}/pause", responses=promised.answers(promised.Job))
async def pause_job(job_id: str, request: Request) -> Any:
    """Pause a job; what it has learned is kept."""
    return _changed(request, job_id, queue.pause)


@router.post("/v1/fine_tuning/jobs/{job_id}/resume", responses=promised.answers(promised.Job))
async def resume_job(job_id: str, request: Request) -> Any:
    """Go on with a paused job."""
    return _changed(request, job_id, queue.resume)


def _db_of(request: Request, job_id: str) -> Database:
    """Return the database. Raises ApiError 404 where the job is not the caller's."""
    db = state_of(request).db
    queue.owned(db, owner_of(request), job_id)
    return db


def _changed(request: Request, job_id: str, change: Any) -> Any:
    db = _db_of(request, job_id)
    change(db, job_id)
    return queue.as_json(queue.get(db, job_id))


@router.get("/v1/fine_tuning/jobs/{job_id}/events", responses=promised.answers(promised.Page[promised.JobEvent]))
async def list_events(
    job_id: str, request: Request, after: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 20
) -> Any:
    """List what happened to a job, newest first."""
    db = _db_of(request, job_id)
    return page(queue.events(db, job_id), after, limit, queue.event_as_json)


@router.get("/v1/fine_tuning/jobs/{job_id}/checkpoints", responses=promised.answers(promised.Page[promised.Checkpoint]))
async def list_checkpoints(
    job_id: str, request: Request, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 10
) -> Any:
    """List a job's checkpoints, newest first; each is a model that can be called."""
    db = _db_of(request, job_id)
    return page(queue.checkpoints(db, job_id), after, limit, queue.checkpoint_as_json)
