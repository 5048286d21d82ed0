"""The body of /v1/responses, and the chat that it asks for. What a local model cannot do (hosted tools, files, background) is refused."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, StringConstraints, Tag

from apps.server.chat_request import MOST_MESSAGES, Body, ChatRequest, StreamOptions, Text
from chains.errors import UsageError

Call = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Echoed(Body):
    """What may come back from an earlier response, with what clients add to it (parsed_arguments); only what is named here is read."""

    model_config = ConfigDict(extra="ignore")


class Part(Echoed):
    """A piece of a message: text alone."""

    type: Literal["input_text", "output_text"]
    text: Text


Content = Text | Annotated[list[Part], Field(max_length=256)]


class Message(Echoed):
    """One message."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Content


class FunctionCall(Echoed):
    """A call that the model made."""

    type: Literal["function_call"]
    call_id: Call
    name: Call
    arguments: Text


class FunctionOutput(Body):
    """What a call gave."""

    type: Literal["function_call_output"]
    call_id: Call
    output: Content
    id: str | None = None
    status: str | None = None


class Reasoning(Echoed):
    """What a model thought; it is not read again."""

    type: Literal["reasoning"]


class Tool(Body):
    """A function that may be called."""

    type: Literal["function"]
    name: Call
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Format(Body):
    """The form that an answer has."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class TextOptions(Body):
    """How an answer is written."""

    format: Format = Format(type="text")


class Forced(Body):
    """The one function that is to be called."""

    type: Literal["function"]
    name: Call


Item = Annotated[
    Annotated[Message, Tag("message")] | Annotated[FunctionCall, Tag("function_call")] | Annotated[Reasoning, Tag("reasoning")]
    | Annotated[FunctionOutput, Tag("function_call_output")],
    Discriminator(lambda item: item.get("type", "message") if isinstance(item, dict) else getattr(item, "type", None)),
]  # fmt: skip
Input = Annotated[
    Annotated[Text, Tag("text")] | Annotated[list[Item], Field(min_length=1, max_length=1024), Tag("items")],
    Discriminator(lambda given: "items" if isinstance(given, list) else "text"),
]


class ResponseRequest(Body):
    """The body of a new response."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    input: Input
    instructions: Text | None = None
    previous_response_id: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["auto", "none", "required"] | Forced | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    include: list[Literal["message.output_text.logprobs"]] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    background: Literal[False] | None = None
    truncation: Literal["disabled"] | None = None
    metadata: dict[str, str] | None = Field(None, max_length=16)
    service_tier: Literal["auto", "default"] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @property
    def items(self) -> list[dict[str, Any]]:
        """The input as items."""
        if isinstance(self.input, str):
            return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": self.input}]}]
        return [item.model_dump(exclude_unset=True) | {"type": item.type} for item in self.input]

    def as_chat(self, before: list[dict[str, Any]]) -> ChatRequest:
        """Return what the model is asked, after the items `before`. Raises UsageError where the conversation makes no sense."""
        opening = [{"role": "system", "content": self.instructions}] if self.instructions else []
        messages = [*opening, *_messages([*before, *self.items])]
        if not 1 <= len(messages) <= MOST_MESSAGES:
            raise UsageError(
                f"the conversation has {len(messages)} messages; a model is asked with 1 to {MOST_MESSAGES}"
            )
        given: dict[str, Any] = {
            "model": self.model, "messages": messages, "temperature": self.temperature,
            "top_p": self.top_p, "max_completion_tokens": self.max_output_tokens, "tools": self._tools(), "tool_choice": self._choice(),
            "parallel_tool_calls": self.parallel_tool_calls, "response_format": self._format(),
            "logprobs": bool(self.include) or self.top_logprobs is not None or None, "top_logprobs": self.top_logprobs,
        }  # fmt: skip
        return ChatRequest(**given)

    def _tools(self) -> list[dict[str, Any]] | None:
        tools = [tool.model_dump(exclude={"type"}, exclude_none=True) for tool in self.tools or ()]
        return [{"type": "function", "function": {"parameters": {}, **tool}} for tool in tools] or None

    def _choice(self) -> Any:
        named = isinstance(self.tool_choice, Forced)
        return {"type": "function", "function": {"name": self.tool_choice.name}} if named else self.tool_choice  # type: ignore[union-attr]

    def _format(self) -> dict[str, Any] | None:
        form = self.text.format if self.text else None
        if form is None or form.type == "text":
            return None
        own = form.model_dump(exclude={"type"}, exclude_none=True, by_alias=True)
        return {"type": form.type, **({"json_schema": own} if form.type == "json_schema" else {})}


def _messages(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the items as chat messages: calls that stand together are one message's."""
    found: list[dict[str, Any]] = []
    for item in items:
        match item["type"]:
            case "message":
                found.append({"role": item["role"], "content": _text(item["content"])})
            case "function_call":
                if not (found and found[-1]["role"] == "assistant"):
                    found.append({"role": "assistant", "content": None})
                function = {"name": item["name"], "arguments": item["arguments"]}
                found[-1].setdefault("tool_calls", []).append(
                    {"id": item["call_id"], "type": "function", "function": function}
                )
            case "function_call_output":
                if not any(call["id"] == item["call_id"] for each in found for call in each.get("tool_calls", ())):
                    raise UsageError(
                        f"there is no function call {item['call_id']!r} before its output; give the call, too"
                    )
                found.append({"role": "tool", "tool_call_id": item["call_id"], "content": _text(item["output"])})
    return found


def _text(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
