"""What the OpenAPI says of what models and graders make: vectors, scores, verdicts, chats, continued texts and responses."""

from typing import Any, Literal

from apps.server.promised import Answer


class Vector(Answer):
    """A text as a vector: numbers, or their float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class ReadTokens(Answer):
    """What an answer without text took."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(Answer):
    """A vector for each text, in their order."""

    object: Literal["list"]
    model: str
    data: list[Vector]
    usage: ReadTokens


class Score(Answer):
    """A reward model's number for an answer."""

    object: Literal["score"]
    index: int
    score: float


class Scores(Answer):
    """A score for each answer, in their order."""

    object: Literal["list"]
    model: str
    data: list[Score]


class Verdict(Answer):
    """Whether a text may be shown."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]


class Moderation(Answer):
    """A verdict for each text, in their order."""

    id: str
    model: str
    results: list[Verdict]


class Checked(Answer):
    """A grader that can be used."""

    grader: dict[str, Any]


class Graded(Answer):
    """What a grader gave."""

    reward: float
    sub_rewards: dict[str, float]
    metadata: dict[str, Any]
    model_grader_token_usage_per_model: dict[str, Any]


class Tokens(ReadTokens):
    """What an answer took."""

    completion_tokens: int


class Function(Answer):
    """A function and its arguments, JSON as text."""

    name: str
    arguments: str


class Call(Answer):
    """A call of a tool."""

    id: str
    type: Literal["function"]
    function: Function


class Said(Answer):
    """What a model said."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: list[Call] | None = None


class Choice(Answer):
    """One of a chat's answers."""

    index: int
    message: Said
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]


class Chat(Answer):
    """A chat's answers, with the tokens that they took."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Tokens


class Continued(Answer):
    """One of a prompt's continuations."""

    index: int
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length"]


class Completion(Answer):
    """Continued prompts, with the tokens that they took."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[Continued]
    usage: Tokens


class Output(Answer):
    """A part of a response: a message, a call of a tool, or reasoning."""

    id: str
    type: Literal["message", "function_call", "reasoning"]
    status: Literal["in_progress", "completed", "incomplete"]


class ResponseTokens(Answer):
    """What a response took."""

    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    output_tokens_details: dict[str, int]
    total_tokens: int


class Response(Answer):
    """A response that has ended."""

    id: str
    object: Literal["response"]
    created_at: int
    model: str
    status: Literal["completed", "incomplete"]
    output: list[Output]
    usage: ResponseTokens
