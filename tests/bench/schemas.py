"""JSON schemas to constrain by: random ones, which use every keyword that can be enforced, and some as programs write them."""

import datetime
import random
from typing import Any, Literal

import pydantic

Schema = dict[str, Any]
NAMES = ("name", "age", "색", "전화 번호", 'quo"te', "back\\slash", "tags", "x-1", "a/b", "한글이름", "note", "id")
PATTERNS = (
    "^[a-z]{1,4}$",
    "^[가-힣]{2,3}$",
    "^\\d{2,4}-\\d{4}$",
    "ab",
    '^"[^"]*"$',
    "^(예|아니오)$",
    "^.{0,5}$",
    "^\\w+\\.py$",
)
FORMATS = ("date", "time", "date-time", "ipv4", "ipv6", "uuid", "email", "duration")
VALUES = (1, -3, 2.5, "x", "빨강", 'q"\\', True, None, [1, "a"], {"k": 1})


def random_schema(seed: int) -> Schema:
    """Return a schema of up to four levels that some answer satisfies; the same for the same seed."""
    draw = random.Random(seed)
    schema = _any(draw, 3)
    if draw.random() < 0.15:
        leaf = _any(draw, 1)
        schema = {
            "type": "object",
            "properties": {"value": {"$ref": "#/$defs/leaf"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
            "required": ["value", "next"],
            "$defs": {"leaf": leaf},
        }
    return schema


def _any(draw: random.Random, depth: int) -> Schema:
    makers = [_text, _text, _whole, _number, _enum, lambda _: {"type": "boolean"}, lambda _: {"type": "null"}]
    if depth:
        makers += (
            [lambda d: _object(d, depth)] * 5 + [lambda d: _array(d, depth)] * 2 + [lambda d: _union(d, depth)] * 2
        )
    return draw.choice(makers)(draw)


def _text(draw: random.Random) -> Schema:
    kind = draw.randrange(4)
    if kind == 0:
        return {"type": "string", "pattern": draw.choice(PATTERNS)}
    if kind == 1:
        return {"type": "string", "format": draw.choice(FORMATS)}
    least = draw.choice((0, 0, 1, 3))
    return {"type": "string", "minLength": least, "maxLength": least + draw.randrange(8)}


def _whole(draw: random.Random) -> Schema:
    low = draw.randrange(-1000, 1000)
    schema: Schema = {"type": "integer", draw.choice(("minimum", "exclusiveMinimum")): low}
    if draw.random() < 0.7:
        schema[draw.choice(("maximum", "exclusiveMaximum"))] = low + draw.randrange(20, 2000)
    if draw.random() < 0.3:
        schema["multipleOf"] = draw.choice((2, 3, 5, 7))
    return schema


def _number(draw: random.Random) -> Schema:
    low = round(draw.uniform(-5, 5), 2)
    return {
        "type": "number",
        "minimum": low,
        draw.choice(("maximum", "exclusiveMaximum")): low + draw.choice((0.5, 3, 250)),
    }


def _enum(draw: random.Random) -> Schema:
    if draw.random() < 0.3:
        return {"const": draw.choice(VALUES)}
    return {"enum": draw.sample(VALUES, draw.randrange(1, 5))}


def _object(draw: random.Random, depth: int) -> Schema:
    names = draw.sample(NAMES, draw.randrange(1, 5))
    schema: Schema = {"type": "object", "properties": {name: _any(draw, depth - 1) for name in names}}
    schema["required"] = [name for name in names if draw.random() < 0.7]
    rest = draw.random()
    if rest < 0.4:
        schema["additionalProperties"] = False
    elif rest < 0.5:
        schema["additionalProperties"] = {"type": "integer"}
    elif rest < 0.6:
        schema |= {"patternProperties": {"^z[a-z]$": {"type": "boolean"}}, "additionalProperties": False}
    elif rest < 0.7:
        schema = {"allOf": [schema, {"required": names[:1]}]}
    return schema


def _array(draw: random.Random, depth: int) -> Schema:
    if draw.random() < 0.25:
        firsts = [_any(draw, depth - 1) for _ in range(2)]
        return {
            "type": "array",
            "prefixItems": firsts,
            "minItems": 2,
            "items": draw.choice((False, {"type": "integer"})),
        }
    least = draw.randrange(3)
    schema = {"type": "array", "items": _any(draw, depth - 1), "minItems": least}
    return schema if draw.random() < 0.3 else schema | {"maxItems": least + draw.randrange(4)}


def _union(draw: random.Random, depth: int) -> Schema:
    kind = draw.randrange(3)
    if kind == 0:
        return {"type": ["string", "null"], "maxLength": 4}
    if kind == 1:
        tagged = ("cat", "dog")
        return {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {"kind": {"const": tag}, "it": _any(draw, depth - 1)},
                    "required": ["kind"],
                }
                for tag in tagged
            ]
        }
    return {"anyOf": [_any(draw, depth - 1), _any(draw, depth - 1)]}


class Address(pydantic.BaseModel):
    """Where someone lives."""

    street: str
    city: Literal["서울", "부산", "Paris"]
    postcode: str = pydantic.Field(pattern=r"^\d{5}$")


class Person(pydantic.BaseModel):
    """A record that is read out of a text."""

    name: str = pydantic.Field(max_length=20)
    born: datetime.date | None
    addresses: list[Address] = pydantic.Field(max_length=3)
    score: float = pydantic.Field(ge=0, le=1)
    parent: "Person | None" = None


class Search(pydantic.BaseModel):
    """One tool's arguments."""

    tool: Literal["search"]
    query: str
    limit: int = pydantic.Field(default=10, ge=1, le=100)


class Answer(pydantic.BaseModel):
    """Another's."""

    tool: Literal["answer"]
    text: str
    sources: list[int]


class Step(pydantic.BaseModel):
    """An agent's turn: a thought and one of two tools."""

    thought: str
    action: Search | Answer = pydantic.Field(discriminator="tool")


def written() -> dict[str, Schema]:
    """Return schemas as pydantic and people write them, by name."""
    return {
        "person": Person.model_json_schema(),
        "step": Step.model_json_schema(),
        "labels": {"type": "array", "items": {"enum": ["긍정", "부정", "중립"]}, "minItems": 1, "maxItems": 5},
        "menu": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "items": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"sku": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"}, "price": {"type": "number", "minimum": 0}},
                        "required": ["sku", "price"],
                    },
                },
                "when": {"type": "string", "format": "date-time"},
            },
            "required": ["items", "when"],
        },
    }  # fmt: skip


def _of_a(**more: Any) -> Schema:
    return {"type": "object", "properties": {"a": {"type": "integer"}}, **more}


KEYWORDS: dict[str, tuple[Schema, str, str]] = {
    "type": ({"type": "integer"}, "12", '"x"'),
    "type list": ({"type": ["string", "null"]}, "null", "1"),
    "enum": ({"enum": [1, "빨강", None]}, '"빨강"', '"파랑"'),
    "const": ({"const": {"b": [1]}}, '{"b":[1]}', '{"b":[2]}'),
    "minimum": ({"type": "integer", "minimum": 7}, "7", "6"),
    "exclusiveMaximum": ({"type": "number", "minimum": 0, "exclusiveMaximum": 2}, "1.5", "2.5"),
    "minimum and maximum": ({"type": "number", "minimum": 0.5, "maximum": 1}, "0.75", "1.5"),
    "multipleOf": ({"type": "integer", "multipleOf": 3}, "9", "10"),
    "minLength": ({"type": "string", "minLength": 2}, '"가나"', '"가"'),
    "maxLength": ({"type": "string", "maxLength": 2}, '"가나"', '"가나다"'),
    "pattern": ({"type": "string", "pattern": "^[가-힣]+$"}, '"가나"', '"ab"'),
    "pattern, unanchored": ({"type": "string", "pattern": "b"}, '"abc"', '"ac"'),
    "pattern and maxLength": ({"type": "string", "pattern": "^a+$", "maxLength": 2}, '"aa"', '"aaa"'),
    "format date": ({"type": "string", "format": "date"}, '"2024-05-06"', '"2024-13-06"'),
    "format date, 30 February": ({"type": "string", "format": "date"}, '"2024-02-28"', '"2024-02-30"'),
    "format date-time": ({"type": "string", "format": "date-time"}, '"2024-05-06T07:08:09Z"', '"2024-05-06"'),
    "format uuid": ({"type": "string", "format": "uuid"}, '"123e4567-e89b-12d3-a456-426614174000"', '"123e"'),
    "format email": ({"type": "string", "format": "email"}, '"a@b.co"', '"a b"'),
    "format ipv4": ({"type": "string", "format": "ipv4"}, '"1.2.3.4"', '"1.2.3.400"'),
    "required": (_of_a(required=["a"]), '{"a":1}', "{}"),
    "additionalProperties": (_of_a(required=["a"], additionalProperties=False), '{"a":1}', '{"a":1,"b":1}'),
    "additionalProperties schema": ({"type": "object", "additionalProperties": {"type": "integer"}}, '{"b":1}', '{"b":"x"}'),
    "a key twice, escaped": (_of_a(required=["a"], additionalProperties={"type": "string"}), '{"a":1,"b":"x"}', '{"a":1,"\\u0061":"x"}'),
    "patternProperties": ({"type": "object", "patternProperties": {"^z": {"type": "integer"}}, "additionalProperties": False}, '{"z1":1}', '{"y":1}'),
    "propertyNames": ({"type": "object", "propertyNames": {"pattern": "^z"}}, '{"z1":1}', '{"y":1}'),
    "minProperties": ({"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer"}}, '{"a":1,"b":2}', '{"a":1,"a":2}'),
    "maxProperties": ({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "integer"}}, '{"a":1}', '{"a":1,"b":2}'),
    "dependentRequired": (_of_a(dependentRequired={"a": ["b"]}, additionalProperties=True), '{"a":1,"b":1}', '{"a":1}'),
    "items": ({"type": "array", "items": {"type": "integer"}}, "[1,2]", '["x"]'),
    "prefixItems": ({"type": "array", "prefixItems": [{"type": "integer"}], "items": False}, "[1]", '["x"]'),
    "minItems": ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, "[1,2]", "[1]"),
    "maxItems": ({"type": "array", "items": {"type": "integer"}, "maxItems": 2}, "[1,2]", "[1,2,3]"),
    "uniqueItems": ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, "[1,2]", "[1,1]"),
    "contains": ({"type": "array", "items": {"type": "integer"}, "contains": {"const": 7}}, "[1,7]", "[1,2]"),
    "anyOf": ({"anyOf": [{"type": "integer"}, {"const": "x"}]}, '"x"', '"y"'),
    "oneOf, apart": ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, "null", '"y"'),
    "oneOf, overlapping": ({"oneOf": [{"type": "integer", "minimum": 0}, {"type": "integer", "maximum": 9}]}, "12", "5"),
    "allOf": ({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}]}, "4", "6"),
    "not": ({"type": "integer", "not": {"const": 3}}, "4", "3"),
    "if, then": ({"type": "integer", "if": {"minimum": 5}, "then": {"multipleOf": 2}}, "6", "7"),
    "$ref": ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "integer"}}}, "4", '"x"'),
    "$ref and siblings": ({"$ref": "#/$defs/x", "maximum": 4, "$defs": {"x": {"type": "integer"}}}, "4", "5"),
    "$ref, recursive": ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "array", "items": {"$ref": "#/$defs/x"}}}}, "[[],[[]]]", "[1]"),
}  # fmt: skip
"""Each keyword with an answer that it allows and one that it forbids."""

REGEXES: dict[str, tuple[str, str, str]] = {
    "classes": ("[a-z_]+[0-9]*", "ab_12", "1a"),
    "Hangul": ("[가-힣]{2,3}", "여섯", "여"),
    "script": (r"\p{Hangul}+", "여섯", "six"),
    "escapes": (r"\d{3}-\w+\s?", "123-ab", "12-ab"),
    "anchors": ("^(yes|no)$", "yes", "yesno"),
    "lazy": ("a+?b", "aab", "a"),
    "case": ("(?i)yes", "YeS", "ye"),
    "bounded": ("(ab){2,40}", "abab", "ab"),
    "negated": ("[^가]", "나", "가"),
    "lookahead": ("(?=a)[ab]c", "ac", "bc"),
    "word border": (r"a\b b", "a b", "ab"),
    "backreference": (r"(a|b)\1", "aa", "ab"),
}
