"""The body of /v1/chat/completions, as OpenAI's clients send it, and what a local model is asked by it.

Every field is honoured, or refused; those that only OpenAI's own service acts upon (`user`, `metadata`, `store`, …) change no answer.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from chains.errors import UsageError

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

DEFAULT_MAX_TOKENS = 1024
"""Where a request names no limit: an answer's whole room in the context would be held for it."""
MOST_N = 16
MOST_MESSAGES = 1024
Text = Annotated[str, StringConstraints(max_length=2**20)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Stop = str | Annotated[list[Text], Field(max_length=4)] | None


class Body(BaseModel):
    """A request body: a field that is not known here is refused, by name."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class StreamOptions(Body):
    """How a stream ends."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class Sampling(Body):
    """What /v1/chat/completions and /v1/completions have in common."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_N)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: Stop = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    user: str | None = None
    # beside OpenAI's, as vLLM takes them
    top_k: Annotated[int, Field(ge=0)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    ignore_eos: bool | None = None

    @field_validator("logit_bias")
    @classmethod
    def _token_ids(cls, bias: dict[str, float] | None) -> dict[str, float] | None:
        if bad := next((key for key in bias or () if not key.isdecimal() or len(key) > 9), None):
            raise ValueError(f"{bad!r} is no token id")
        return bias

    def common(self) -> dict[str, Any]:
        """Return the settings as LocalChat names them, OpenAI's defaults where nothing is given."""
        given: dict[str, Any] = {
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": self.top_p,
            "n": self.n,
            "stop": self.stop,
            "seed": None if self.seed is None else self.seed % 2**63,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": {int(token): value for token, value in (self.logit_bias or {}).items()} or None,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "ignore_ends": self.ignore_eos,
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with its token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatRequest(Sampling):
    """The body of /v1/chat/completions."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: dict[str, Any] | None = None
    tools: Annotated[list[dict[str, Any]], Field(max_length=128)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    modalities: list[Literal["text"]] | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: Literal["auto", "default"] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    def asked(self) -> dict[str, Any]:
        """Return what LocalChat is asked beside the messages."""
        given = {
            "max_tokens": self.max_completion_tokens or self.max_tokens or DEFAULT_MAX_TOKENS,
            "logprobs": self.logprobs,
            "top_logprobs": self.top_logprobs or None,
            "response_format": self.response_format,
            "tools": self.tools,
            "tool_choice": self.tool_choice,
            "parallel_tool_calls": self.parallel_tool_calls if self.tools else None,
            "keep_cut": True,  # a call that the limit cut off is told as one, as OpenAI does
        }
        return self.common() | {name: value for name, value in given.items() if value is not None}


def messages_of(rows: Sequence[dict[str, Any]]) -> "list[BaseMessage]":
    """Return OpenAI's message dicts as LangChain's. Raises UsageError, naming the place, for one that is none."""
    from langchain_core.messages import convert_to_messages

    made: list[BaseMessage] = []
    for place, row in enumerate(rows):
        if not isinstance(row.get("role"), str):
            raise UsageError(
                f"messages[{place}] has the role {row.get('role')!r}; expected system, user or another text"
            )
        try:
            made += convert_to_messages([{**row, "content": row.get("content") or ""}])
        except Exception as error:  # langchain_core raises many kinds for many mistakes
            raise UsageError(f"messages[{place}] cannot be used: {str(error).splitlines()[0]}") from error
    return made
