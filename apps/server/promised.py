"""What the OpenAPI says of answers: the fields that each is sure to have. It documents and is fuzzed against; nothing is filtered by it.

Here are the objects that a server keeps; promised_made.py has what its models make.
"""

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

Item = TypeVar("Item")


class Answer(BaseModel):
    """An object with these fields, and perhaps more."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class Page(Answer, Generic[Item]):
    """One page of a list."""

    object: Literal["list"]
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Model(Answer):
    """A model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class Models(Answer):
    """The models, all of them."""

    object: Literal["list"]
    data: list[Model]


class Permission(Answer):
    """A key's permission to use another's model."""

    id: str
    object: Literal["checkpoint.permission"]
    created_at: int
    project_id: str


class Deleted(Answer):
    """What was deleted."""

    id: str
    object: str
    deleted: Literal[True]


class File(Answer):
    """A file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"]
    expires_at: int | None


class Part(Answer):
    """A part of an upload."""

    id: str
    object: Literal["upload.part"]
    created_at: int
    upload_id: str


class Upload(Answer):
    """A file that comes in parts."""

    id: str
    object: Literal["upload"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: File | None


class Job(Answer):
    """A fine-tuning job."""

    id: str
    object: Literal["fine_tuning.job"]
    created_at: int
    model: str
    status: Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled", "paused"]
    training_file: str
    validation_file: str | None
    hyperparameters: dict[str, Any]
    method: dict[str, Any]
    seed: int
    fine_tuned_model: str | None
    finished_at: int | None
    error: dict[str, Any] | None
    result_files: list[str]
    trained_tokens: int | None
    organization_id: str


class JobEvent(Answer):
    """What happened to a job."""

    id: str
    object: Literal["fine_tuning.job.event"]
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any] | None


class Checkpoint(Answer):
    """A job's model as it was after a pass over the data."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"]
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, float]


class Batch(Answer):
    """A file of requests."""

    id: str
    object: Literal["batch"]
    endpoint: str
    status: Literal[
        "validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"
    ]
    input_file_id: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    expires_at: int
    completion_window: Literal["24h"]
    request_counts: dict[str, int]


class Endpoint(Answer):
    """Where events are sent."""

    id: str
    object: Literal["webhook_endpoint"]
    name: str
    url: str
    event_types: list[str]
    created_at: int


class Tried(Answer):
    """How an endpoint took an event."""

    object: Literal["webhook_endpoint.test"]
    event_type: str
    status_code: int
    success: Literal[True]
    webhook_endpoint_id: str


class Health(Answer):
    """That the server runs."""

    status: Literal["ok"]


class Ready(Answer):
    """That another request would be taken, and the models that are loaded."""

    status: Literal["ready"]
    models: list[str]


Documented = dict[int | str, dict[str, Any]]


def answers(model: type[BaseModel]) -> Documented:
    """Return the documentation of a route that answers with `model`."""
    return {200: {"model": model}}


def streamed(model: type[BaseModel]) -> Documented:
    """Return the documentation of a route that answers with `model`, or with events."""
    return {200: {"model": model, "content": {"text/event-stream": {"schema": {"type": "string"}}}}}


BYTES: Documented = {200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}
