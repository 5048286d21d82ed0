"""A JSON schema made ready for constrained decoding: what cannot be held is refused, what a model could run away with is closed.

llguidance refuses most keywords it cannot enforce (`not`, `if`, `uniqueItems`, …) by name; here is the rest. A prepared schema accepts
only what the given one accepts:

- an object that lists `properties` and says nothing of others gets no others, as in OpenAI's strict mode: a small model would go on
  inventing keys until its tokens run out. Say `additionalProperties: true` to allow them. A schema that joins object keywords with
  `allOf`, `anyOf`, `oneOf` or `$ref` stays open, because closing a part of it could leave nothing.
- dates exist, seconds end at 59 and durations are not astronomic, so that Python reads every date, time, date-time and duration.
"""

import json
from collections.abc import Iterator
from typing import Any

from chains.errors import UsageError

Schema = dict[str, Any]

ONE = ("additionalProperties", "items", "additionalItems", "contains", "not", "if", "then", "else", "propertyNames")
MANY = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""The keywords that hold a schema, a list of schemas, and schemas by name."""

JOINING = {"allOf", "anyOf", "oneOf", "$ref"}
OF_OBJECTS = {"properties", "patternProperties", "additionalProperties", "required", "minProperties", "maxProperties"}
ANY_TEXT = {"password", "path", "file-path", "directory-path", "binary"}
"""Formats that every string has: OpenAPI's and pydantic's."""
EXACT = 2**53
"""Up to here every whole number is a double, which is what bounds are kept as."""

_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_FOURTH = "(?:0[48]|[2468][048]|[13579][26])"  # 04, 08, … 96
_DATE = (
    f"(?:{_YEAR}-(?:02-(?:[01][0-9]|2[0-8])|(?:0[13-9]|1[0-2])-[0-9]{{2}})|(?:[0-9]{{2}}{_FOURTH}|{_FOURTH}00)-02-29)"
)
_TIME = "[0-9]{2}:[0-9]{2}:[0-5].*"
NARROWED = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}.{_TIME}$",
    "duration": "^P(?:[0-9]{1,4}[YMWD])*(?:T(?:[0-9]{1,4}[HMS])*)?$",
}
"""What a format must be beside what llguidance takes for it: no 29 February in 2023, no year 0, no second 60, no number above 9999."""


def prepared(text: str) -> str:
    """Return the schema as JSON that llguidance can take at its word. Raises UsageError for what could not be held."""
    schema = _read(text)
    everything = list(_schemas(schema))
    for part in everything:
        _check(part)
    closing = not any(_joins(part) for part in everything)
    for part in everything:
        _narrow(part)
        if closing and "properties" in part and not OF_OBJECTS & part.keys() - {"properties", "required"}:
            part["additionalProperties"] = not set(part.get("required", ())) <= part["properties"].keys()
    return json.dumps(schema, ensure_ascii=False)


def _read(text: str) -> Schema:
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the json_schema is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise UsageError(f"the json_schema {text!r} cannot be used; expected an object")
    if "x-guidance" in schema:
        raise UsageError("the json_schema cannot be used: x-guidance would loosen it; leave it out")
    if "draft-03" in str(schema.get("$schema")):
        raise UsageError("the json_schema cannot be used: draft 3 is not known; use draft 2020-12")
    return schema


def _schemas(schema: Any) -> Iterator[Schema]:
    """Yield every schema within `schema`, itself first; what a keyword holds as data (`const`, `default`) is none."""
    if not isinstance(schema, dict):
        return
    yield schema
    held = [schema.get(name) for name in ONE]
    held += [part for name in MANY if isinstance(schema.get(name), list) for part in schema[name]]
    held += [part for name in NAMED if isinstance(schema.get(name), dict) for part in schema[name].values()]
    for part in held:
        yield from _schemas(part)


def _check(schema: Schema) -> None:
    least = schema.get("minProperties", 0)
    if isinstance(least, int) and least > max(1, len(schema.get("required", ()))):
        raise UsageError(
            f"the json_schema cannot be used: minProperties {least} cannot be held, because a key could come twice; "
            "name the properties that must be there in 'required'"
        )
    for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"):
        if isinstance(schema.get(name), int) and abs(schema[name]) > EXACT:
            raise UsageError(
                f"the json_schema cannot be used: {name} {schema[name]} is beyond 2**53, where not every whole number can be told apart"
            )


def _joins(schema: Schema) -> bool:
    """Return whether more than one part of the schema may speak of the same object's keys."""
    joining = JOINING & schema.keys()
    return len(joining) > 1 or bool(joining and OF_OBJECTS & schema.keys()) or len(schema.get("allOf", ())) > 1


def _narrow(schema: Schema) -> None:
    kind = schema.get("format")
    if kind in ANY_TEXT:
        del schema["format"]
    if kind in NARROWED:
        schema["allOf"] = [*schema.get("allOf", ()), {"pattern": NARROWED[kind]}]
