"""/v1/fine_tuning/jobs."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field, StringConstraints

from apps.server import files, queue
from apps.server.chat_request import Body
from apps.server.database import Database
from apps.server.errors import ApiError
from apps.server.ownership import check_model
from apps.server.pages import page
from apps.server.state import owner_of, state_of
from apps.server.warm import served

router = APIRouter()
Auto = Literal["auto"]


class Hyperparameters(Body):
    """How to train; 'auto' is decided from the data."""

    n_epochs: Auto | Annotated[int, Field(ge=1, le=50)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0, le=1000)] = "auto"


class Supervised(Body):
    """The supervised method's own part."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Method(Body):
    """How the model learns."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: dict[str, Any] | None = None
    reinforcement: dict[str, Any] | None = None


class JobRequest(Body):
    """The body of a new job."""

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: Annotated[str, StringConstraints(max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    integrations: Annotated[list[Any], Field(max_length=0)] | None = None
    metadata: dict[
        Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]
    ] | None = Field(None, max_length=16)  # fmt: skip

    @property
    def chosen(self) -> Hyperparameters:
        """The method's hyperparameters, else those at the top, where older clients put them."""
        if self.method and self.method.supervised:
            return self.method.supervised.hyperparameters
        return self.hyperparameters or Hyperparameters()


@router.post("/v1/fine_tuning/jobs")
async def create_job(body: JobRequest, request: Request) -> Any:
    """Put a job into the queue."""
    state, owner = state_of(request), owner_of(request)
    if body.method and body.method.type != "supervised":
        raise ApiError(
            400, f"method {body.method.type!r} is not there; use 'supervised'", "unsupported_method", "method"
        )
    check_model(request, body.model)
    _, kind = served(body.model, state.settings)
    if kind != "chat":
        raise ApiError(400, f"{body.model!r} is a reward model; fine-tune a chat model", "invalid_model", "model")
    for param in ("training_file", "validation_file"):
        _check_file(request, getattr(body, param), param)
    row = await asyncio.to_thread(
        queue.create, state.db, owner, body.model, body.training_file, body.validation_file, body.suffix or "",
        body.seed, body.chosen.model_dump(), body.metadata,
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


@router.get("/v1/fine_tuning/jobs")
async def list_jobs(request: Request, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Any:
    """List the jobs, newest first; `metadata[key]=value` keeps those that carry it, `metadata=null` those without any."""
    rows = [queue.as_json(row) for row in queue.listed(state_of(request).db, owner_of(request))]
    for name, value in request.query_params.items():
        if name.startswith("metadata[") and name.endswith("]"):
            rows = [row for row in rows if (row["metadata"] or {}).get(name[9:-1]) == value]
        elif name == "metadata" and value == "null":
            rows = [row for row in rows if not row["metadata"]]
    return page(rows, after, limit, lambda row: row)


@router.get("/v1/fine_tuning/jobs/{job_id}")
async def retrieve_job(job_id: str, request: Request) -> Any:
    """Show one job."""
    return queue.as_json(queue.owned(state_of(request).db, owner_of(request), job_id))


@router.post("/v1/fine_tuning/jobs/{job_id}/cancel")
async def cancel_job(job_id: str, request: Request) -> Any:
    """Cancel a job."""
    return _changed(request, job_id, queue.cancel)


@router.post("/v1/fine_tuning/jobs/{job_id}/pause")
async def pause_job(job_id: str, request: Request) -> Any:
    """Pause a job; what it has learned is kept."""
    return _changed(request, job_id, queue.pause)


@router.post("/v1/fine_tuning/jobs/{job_id}/resume")
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


@router.get("/v1/fine_tuning/jobs/{job_id}/events")
async def list_events(
    job_id: str, request: Request, after: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 20
) -> Any:
    """List what happened to a job, newest first."""
    db = _db_of(request, job_id)
    return page(queue.events(db, job_id), after, limit, queue.event_as_json)


@router.get("/v1/fine_tuning/jobs/{job_id}/checkpoints")
async def list_checkpoints(
    job_id: str, request: Request, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 10
) -> Any:
    """List a job's checkpoints, newest first; each is a model that can be called."""
    db = _db_of(request, job_id)
    return page(queue.checkpoints(db, job_id), after, limit, queue.checkpoint_as_json)
