"""Answers under a schema: OpenAI's `response_format`, and LangChain's `with_structured_output`.

The model decodes under the schema, so an answer that ends is valid; one that reaches max_tokens first raises TruncatedError.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from operator import itemgetter
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import BaseGenerationOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableConfig, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import ValidationError

from chains.errors import ModelError, TruncatedError, UsageError, nearest
from chains.models.schemas import json_schema, titled

METHODS = ("json_schema", "function_calling", "json_mode")
_ANY_OBJECT = {"type": "object"}


def schema_of(response_format: Any) -> dict[str, Any] | None:
    """Return the JSON schema that a `response_format` asks for: OpenAI's dict, or a pydantic class or TypedDict; None for text."""
    if response_format is None:
        return None
    if not isinstance(response_format, Mapping):
        return json_schema(response_format)
    match response_format.get("type"):
        case "text":
            return None
        case "json_object":
            return _ANY_OBJECT
        case "json_schema" if isinstance(response_format.get("json_schema"), Mapping):
            schema = response_format["json_schema"].get("schema")
            if isinstance(schema, Mapping):
                return dict(schema)
            raise UsageError(
                f"response_format has the schema {schema!r}; expected a JSON schema under ['json_schema']['schema']"
            )
    raise UsageError(
        f"response_format={response_format!r} cannot be used; expected {{'type': 'text'}}, {{'type': 'json_object'}}, "
        "{'type': 'json_schema', 'json_schema': {'schema': …}} or a pydantic class"
    )


def with_structured_output(llm: Any, schema: Any, method: str, include_raw: bool, kwargs: Mapping[str, Any]) -> Any:
    """Return `llm` decoding under `schema`, then its value: an instance of a pydantic class, else a dict.

    With `include_raw`, a dict of `raw` (the message), `parsed` and `parsing_error`. `function_calling` asks for the value as the
    arguments of a tool call; `json_mode` is held to the schema, too, and without a schema gives any JSON object.
    """
    if method not in METHODS:
        raise UsageError(f"method={method!r} cannot be used; expected {', '.join(METHODS)}{nearest(method, METHODS)}")
    if schema is None and method != "json_mode":
        raise UsageError(f"method={method!r} needs a schema; give a pydantic class, a TypedDict or a JSON schema")
    wanted = _ANY_OBJECT if schema is None else json_schema(schema)
    told = {"kwargs": {"method": method}, "schema": _ANY_OBJECT if schema is None else _told(schema)}
    if method == "function_calling":
        tool = convert_to_openai_tool(titled(schema))
        given: dict[str, Any] = {"tools": [tool], "tool_choice": tool["function"]["name"], "keep_cut": True}
    else:
        given = _format(wanted)
    bound = llm.bind(**given, **kwargs, ls_structured_output_format=told)
    parser = ValueParser(schema=schema)
    return _with_raw(bound, parser) if include_raw else bound | parser


def decoded_under(llm: Any, schema: Any) -> Any:
    """Return `llm` answering in JSON under `schema`; `ValueParser` makes the value of the message."""
    return llm.bind(**_format(json_schema(schema)))


def _format(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}


def _told(schema: Any) -> dict[str, Any]:
    """Return the schema as LangChain's tracers show it."""
    return convert_to_json_schema(titled(schema))


def _with_raw(bound: Runnable[Any, BaseMessage], parser: Runnable[Any, Any]) -> Runnable[Any, Any]:
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | parsed.with_fallbacks([failed], exception_key="parsing_error")


class ValueParser(BaseGenerationOutputParser[Any]):
    """The value in an answer that was decoded under `schema`: its first tool call's arguments, or its text as JSON.

    Raises TruncatedError where the answer was cut off, ModelError where it is not the schema's.
    """

    schema_: Any = None

    def __init__(self, schema: Any = None) -> None:
        super().__init__()
        self.schema_ = schema

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the value of the first generation."""
        message = result[0].message if isinstance(result[0], ChatGeneration) else AIMessage(result[0].text)
        return value_of(message, self.schema_)

    def _transform(self, input: Iterator[Any]) -> Iterator[Any]:
        yield from _last(list(input), self)

    async def _atransform(self, input: AsyncIterator[Any]) -> AsyncIterator[Any]:
        for value in _last([piece async for piece in input], self):
            yield value

    def transform(self, input: Iterator[Any], config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Yield the value once, when the stream has ended."""
        yield from self._transform_stream_with_config(input, self._transform, config, run_type="parser")

    async def atransform(
        self, input: AsyncIterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Yield the value once, when the stream has ended, awaiting."""
        async for value in self._atransform_stream_with_config(input, self._atransform, config, run_type="parser"):
            yield value


def _last(pieces: list[Any], parser: ValueParser) -> Iterator[Any]:
    if pieces:
        whole = pieces[0] + pieces[1:] if len(pieces) > 1 and isinstance(pieces[0], BaseMessage) else pieces[0]
        message = whole if isinstance(whole, BaseMessage) else AIMessage("".join(map(str, pieces)))
        yield parser.parse_result([ChatGeneration(message=message)])


def value_of(message: BaseMessage, schema: Any) -> Any:
    """Return the value that `message` holds. Raises TruncatedError where it was cut off, ModelError where it is not the schema's."""
    calls = getattr(message, "tool_calls", None)
    text = message.text
    value = calls[0]["args"] if calls else _loaded(text, message)
    try:
        return _typed(value, schema)
    except (ValidationError, ValueError) as error:
        raise ModelError(
            f"the answer does not fit the schema: {_first(error)}; it was: {_short(text or value)}"
        ) from error


def _loaded(text: str, message: BaseMessage) -> Any:
    invalid = getattr(message, "invalid_tool_calls", None)
    said = str(invalid[0]["args"]) if invalid and not text else text
    cut = message.response_metadata.get("finish_reason") == "length"
    try:
        value = json.loads(said)
    except ValueError as error:
        if cut:
            raise truncated(said) from error
        raise ModelError(f"the answer is no JSON ({error}); it was: {_short(said)}") from error
    if cut and not isinstance(value, dict | list):  # 12 may be the beginning of 123
        raise truncated(said)
    return value


def truncated(said: str) -> TruncatedError:
    """Return the error for an answer that reached its limit before it was whole."""
    return TruncatedError(
        f"the answer was cut off before it was whole; raise max_tokens. So far: {_short(said)}", partial=said
    )


def _typed(value: Any, schema: Any) -> Any:
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        kind: Any = schema
        return kind.model_validate(value) if hasattr(kind, "model_validate") else kind.parse_obj(value)  # pydantic 2, 1
    return value


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the value'}: {first['msg']}"
    return str(error).splitlines()[0]


def _short(said: Any) -> str:
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    return repr(text if len(text) <= 200 else text[:200] + "…")
