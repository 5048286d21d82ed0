"""What the OpenAPI says of answers: the fields that each is sure to have. It documents and is fuzzed against; nothing is filtered by it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    """An object with these fields, and perhaps more."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class Page(_Answer):
    """One page of a list."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Listed(_Answer):
    """A list that is never cut."""

    object: Literal["list"]
    data: list[dict[str, Any]]


class Permission(_Answer):
    """A key's permission to use another's model."""

    id: str
    object: Literal["checkpoint.permission"]
    created_at: int
    project_id: str


class PermissionPage(Page):
    """One page of permissions."""

    data: list[Permission]  # type: ignore[assignment]


class Deleted(_Answer):
    """What was deleted."""

    id: str
    object: str
    deleted: Literal[True]


class File(_Answer):
    """A file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"]
    expires_at: int | None


class Upload(_Answer):
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


class Job(_Answer):
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


class Batch(_Answer):
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


class Endpoint(_Answer):
    """Where events are sent."""

    id: str
    object: Literal["webhook_endpoint"]
    name: str
    url: str
    event_types: list[str]
    created_at: int


class Graded(_Answer):
    """What a grader gave."""

    reward: float
    sub_rewards: dict[str, float]
    metadata: dict[str, Any]
    model_grader_token_usage_per_model: dict[str, Any]


class Answer(_Answer):
    """What a model said: a whole answer, with the tokens that it took."""

    id: str
    object: Literal["chat.completion", "text_completion", "response"]
    model: str
    usage: dict[str, Any]


Documented = dict[int | str, dict[str, Any]]


def answers(model: type[BaseModel]) -> Documented:
    """Return the documentation of a route that answers with `model`."""
    return {200: {"model": model}}


STREAMED: Documented = {200: {"model": Answer, "content": {"text/event-stream": {"schema": {"type": "string"}}}}}
BYTES: Documented = {200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}
