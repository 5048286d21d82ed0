"""What an answer has to look like, as one JSON schema: from a pydantic class, a TypedDict or a JSON schema."""

from collections.abc import Mapping
from typing import Any

from langchain_core.utils.function_calling import convert_to_json_schema

from chains.errors import UsageError


def json_schema(schema: Any) -> dict[str, Any]:
    """Return a pydantic class, a TypedDict or a JSON schema as a JSON schema. Raises UsageError for anything else."""
    try:
        if hasattr(schema, "model_json_schema"):
            return dict(schema.model_json_schema())
        return dict(convert_to_json_schema(titled(schema)))
    except Exception as error:  # pydantic and langchain_core each raise their own
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"{schema!r} is no schema ({why}); give a pydantic class, a TypedDict or a JSON schema"
        ) from error


def titled(schema: Any) -> Any:
    """Return a JSON schema with a title, which LangChain asks for; a class as it is."""
    if isinstance(schema, Mapping) and not {"title", "name", "function"} & schema.keys():
        return {"title": "answer", **schema}
    return schema


def closed(schema: Any) -> Any:
    """Return a JSON schema whose objects hold what they name and nothing more, unless they say that more is allowed."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    made = {
        key: value if key in ("enum", "const", "default", "examples") else closed(value)
        for key, value in schema.items()
    }
    if (
        isinstance(schema.get("properties"), Mapping)
        and not {"additionalProperties", "unevaluatedProperties"} & schema.keys()
    ):
        made["additionalProperties"] = False
    return made
