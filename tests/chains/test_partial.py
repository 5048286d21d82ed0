"""PartialParser: what is seen of an object while it is written."""

import asyncio
import json
from typing import Annotated, Literal

import pytest
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel, Field

from chains.llm_chain import LLMChain
from chains.models.fake import FakeChat
from chains.partial import PartialParser, partial_of


class Place(BaseModel):
    city: str
    floor: int | None = None


class Person(BaseModel):
    name: Annotated[str, Field(min_length=2)]
    age: int
    mood: Literal["happy", "sad"]
    places: list[Place] = []
    children: list["Person"] = []


WHOLE = {
    "name": 'An"a',
    "age": 31,
    "mood": "happy",
    "places": [{"city": "Seoul", "floor": 12}, {"city": "Busan"}],
    "children": [],
}


def pieces(text, schema=Person):
    return list(PartialParser(pydantic_object=schema).transform(iter(text)))


def test_a_stream_grows_and_ends_with_the_whole():
    *growing, last = pieces(json.dumps(WHOLE))
    assert last == Person(**WHOLE) and type(last) is Person
    assert [piece.name for piece in growing[:4]] == [None, "", "A", "An"]
    assert all(type(piece).__name__ == "PartialPerson" for piece in growing)
    assert {piece.age for piece in growing} == {None, 31}  # never 3
    assert {piece.mood for piece in growing} == {None, "happy"}  # never "hap"
    assert {place.floor for piece in growing for place in piece.places or []} == {None, 12}
    cities = [place.city for piece in growing for place in piece.places or [] if place.city]
    assert "Seo" in cities and "Busan" in cities


def test_each_piece_is_seen_once():
    *growing, _ = pieces('{"city": "X"   , "floor": 2}', Place)
    assert [(piece.city, piece.floor) for piece in growing] == [(None, None), ("", None), ("X", None), ("X", 2)]


@pytest.mark.parametrize("text", ["```json\n%s\n```", "Here it is: ```\n%s\n``` ok"])
def test_a_fence_does_not_matter(text):
    assert pieces(text % '{"city": "X"}', Place)[-1] == Place(city="X")


@pytest.mark.parametrize("text", ['{"floor": 1}', "no json", '{"city": 3}'])
def test_a_whole_that_does_not_fit_is_an_error(text):
    with pytest.raises(OutputParserException):
        pieces(text, Place)


def test_a_chain_streams_it():
    chain = LLMChain(
        llm=FakeChat(['{"city": "New York City", "floor": 3}']),
        prompt="{q}",
        output_key="place",
        output_parser=PartialParser(pydantic_object=Place),
    )
    chunks = [chunk["place"] for chunk in chain.stream("x") if "place" in chunk]
    assert [chunk.city for chunk in chunks] == [None, "New", "New York", *["New York City"] * 3]
    assert chunks[-1] == Place(city="New York City", floor=3)
    assert chain.run("x") == chunks[-1]

    async def streamed():
        return [chunk["place"] async for chunk in chain.astream("x") if "place" in chunk]

    assert asyncio.run(streamed()) == chunks


def test_the_partial_has_every_field_and_none_is_needed():
    assert set(partial_of(Person).model_fields) == set(Person.model_fields)
    assert partial_of(Person)().places is None
