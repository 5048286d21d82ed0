"""What the OpenAPI says of answers: the fields that each is sure to have. It documents and is fuzzed against; nothing is filtered by it."""

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

Item = TypeVar("Item")


class _Answer(BaseModel):
    """An object with these fields, and perhaps more."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class Page(_Answer, Generic[Item]):
    """One page of a list."""

    object: Literal["list"]
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Model(_Answer):
    """A model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class Models(_Answer):
    """The models, all of them."""

    object: Literal["list"]
    data: list[Model]


class Vector(_Answer):
    """A text as a vector: numbers, or their float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class ReadTokens(_Answer):
    """What an answer without text took."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(_Answer):
    """A vector for each text, in their order."""

    object: Literal["list"]
    model: str
    data: list[Vector]
    usage: ReadTokens


class Score(_Answer):
    """A reward model's number for an answer."""

    object: Literal["score"]
    index: int
    score: float


class Scores(_Answer):
    """A score for each answer, in their order."""

    object: Literal["list"]
    model: str
    data: list[Score]


class Verdict(_Answer):
    """Whether a text may be shown."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]


class Moderation(_Answer):
    """A verdict for each text, in their order."""

    id: str
    model: str
    results: list[Verdict]


class Permission(_Answer):
    """A key's permission to use another's model."""

    id: str
    object: Literal["checkpoint.permission"]
    created_at: int
    project_id: str


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


class Part(_Answer):
    """A part of an upload."""

    id: str
    object: Literal["upload.part"]
    created_at: int
    upload_id: str


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


class JobEvent(_Answer):
    """What happened to a job."""

    id: str
    object: Literal["fine_tuning.job.event"]
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any] | None


class Checkpoint(_Answer):
    """A job's model as it was after a pass over the data."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"]
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, float]


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


class Tried(_Answer):
    """How an endpoint took an event."""

    object: Literal["webhook_endpoint.test"]
    event_type: str
    status_code: int
    success: Literal[True]
    webhook_endpoint_id: str


class Checked(_Answer):
    """A grader that can be used."""

    grader: dict[str, Any]


class Graded(_Answer):
    """What a grader gave."""

    reward: float
    sub_rewards: dict[str, float]
    metadata: dict[str, Any]
    model_grader_token_usage_per_model: dict[str, Any]


class Tokens(ReadTokens):
    """What an answer took."""

    completion_tokens: int


class Function(_Answer):
    """A function and its arguments, JSON as text."""

    name: str
    arguments: str


class Call(_Answer):
    """A call of a tool."""

    id: str
    type: Literal["function"]
    function: Function


class Said(_Answer):
    """What a model said."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: list[Call] | None = None


class Choice(_Answer):
    """One of a chat's answers."""

    index: int
    message: Said
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]


class Chat(_Answer):
    """A chat's answers, with the tokens that they took."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Tokens


class Continued(_Answer):
    """One of a prompt's continuations."""

    index: int
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length"]


class Completion(_Answer):
    """Continued prompts, with the tokens that they took."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[Continued]
    usage: Tokens


class Output(_Answer):
    """A part of a response: a message, a call of a tool, or reasoning."""

    id: str
    type: Literal["message", "function_call", "reasoning"]
    status: Literal["in_progress", "completed", "incomplete"]


class ResponseTokens(_Answer):
    """What a response took."""

    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    output_tokens_details: dict[str, int]
    total_tokens: int


class Response(_Answer):
    """A response that has ended."""

    id: str
    object: Literal["response"]
    created_at: int
    model: str
    status: Literal["completed", "incomplete"]
    output: list[Output]
    usage: ResponseTokens


class Health(_Answer):
    """That the server runs."""

    status: Literal["ok"]


class Ready(_Answer):
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
