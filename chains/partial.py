"""A pydantic object that can be read while the model still writes it.

    LLMChain(llm=llm, prompt=p, output_parser=PartialParser(pydantic_object=Person)).stream("Ana is 31")
    # PartialPerson(name="A"), PartialPerson(name="Ana"), ..., Person(name="Ana", age=31)

Each piece has the fields of the schema, those that are not there yet as None; the last one is the schema's own object, checked.
"""

import re
from collections.abc import AsyncIterator, Iterator
from functools import cache, reduce
from json import JSONDecodeError
from types import UnionType
from typing import Any, Union, get_args, get_origin

from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import PydanticOutputParser
from langchain_core.outputs import Generation
from langchain_core.utils.json import parse_json_markdown
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from chains.model_call import text_of

_NUMBER = re.compile(r"[-+.\deE]+$")


class PartialParser(PydanticOutputParser[Any]):
    """langchain_core's PydanticOutputParser, whose stream yields the object as it grows.

    A text may still be cut short; what else is not yet whole (a number that may go on, a choice that is none yet) is left out. Raises
    OutputParserException at the end where the whole does not fit the schema.
    """

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the object, or, with `partial`, what there is of it; None where there is nothing yet."""
        if not partial:
            return super().parse_result(result)
        try:
            data = parse_json_markdown(_without_open_number(result[0].text))
        except (JSONDecodeError, ValueError):
            return None
        schema: Any = self.pydantic_object
        return _fitting(partial_of(schema), data) if isinstance(data, dict) else None

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:
        said: list[str] = []
        yield from super()._transform(_kept(input, said))
        yield self.parse("".join(said))

    async def _atransform(self, input: AsyncIterator[str | BaseMessage]) -> AsyncIterator[Any]:
        said: list[str] = []
        async for piece in super()._atransform(_akept(input, said)):
            yield piece
        yield self.parse("".join(said))


@cache
def partial_of(schema: type[BaseModel], within: tuple[type[BaseModel], ...] = ()) -> type[BaseModel]:
    """Return a model of the same fields, all of which may be None; so in the models inside it. A model inside itself is any dict there."""
    fields: dict[str, Any] = {
        name: (_optional(field.annotation, (*within, schema)) | None, Field(default=None, alias=field.alias))
        for name, field in schema.model_fields.items()
    }
    config = ConfigDict(arbitrary_types_allowed=True, populate_by_name=True, extra="ignore")
    return create_model(f"Partial{schema.__name__}", __config__=config, **fields)


def _optional(annotation: Any, within: tuple[type[BaseModel], ...]) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return dict[str, Any] if annotation in within else partial_of(annotation, within)
    arguments = tuple(_optional(one, within) for one in get_args(annotation))
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return reduce(lambda a, b: a | b, arguments)
    return origin[arguments] if origin in (list, dict, set, frozenset, tuple) else annotation


def _fitting(model: type[BaseModel], data: Any) -> Any:
    """Return the object of what fits of `data`, without what does not (yet)."""
    while True:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            if not _removed(data, error.errors()[0]["loc"]):
                return None


def _removed(data: Any, path: tuple[int | str, ...]) -> bool:
    """Take the value at `path` (its last step that is there) out of `data`; of a list also what comes after it."""
    holder: Any = None
    key: Any = None
    for step in path:
        if not (isinstance(data, dict) and step in data) and not (isinstance(data, list) and isinstance(step, int)):
            break
        there: Any = data
        holder, key, data = there, step, there[step]
    if isinstance(holder, list):
        del holder[key:]
    elif holder is not None:
        del holder[key]
    return holder is not None


def _without_open_number(text: str) -> str:
    """Return `text` without a number at its very end, which may go on: 3 of 31."""
    inside = len(re.findall(r'(?<!\\)(?:\\\\)*"', text)) % 2
    return text if inside else _NUMBER.sub("", text)


def _kept(pieces: Iterator[Any], said: list[str]) -> Iterator[Any]:
    for piece in pieces:
        said.append(str(text_of(piece)))
        yield piece


async def _akept(pieces: AsyncIterator[Any], said: list[str]) -> AsyncIterator[Any]:
    async for piece in pieces:
        said.append(str(text_of(piece)))
        yield piece
