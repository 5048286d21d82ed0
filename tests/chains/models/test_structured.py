"""Answers under a schema: any model's answer is an instance, and one that was cut off is an error that says so."""

import asyncio
import json
from typing import Annotated, Literal, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, Field

from chains import LocalChat, UsageError
from chains.errors import ModelError, TruncatedError
from chains.models.structured import ValueParser
from tests.families import ends_strings, model, tokenizer


class Pet(BaseModel):
    kind: Literal["cat", "dog"]
    name: str = Field(max_length=8)


class Person(BaseModel):
    """Someone."""

    name: str = Field(max_length=8)
    age: int = Field(ge=0, le=150)
    pets: list[Pet] = Field(max_length=2)


class City(TypedDict):
    """A place."""

    name: Annotated[str, ..., "what it is called"]
    size: Annotated[int, ..., "how many live there"]


SCHEMA = {
    "title": "point",
    "type": "object",
    "properties": {"x": {"type": "integer"}, "on": {"type": "boolean"}},
    "required": ["x", "on"],
}
METHODS = ["json_schema", "function_calling", "json_mode"]


@pytest.fixture(params=["qwen", "mistral", "none"], scope="module")
def llm(request):
    tok = tokenizer(request.param)
    return LocalChat(model(tok), tok, temperature=1, seed=3, max_tokens=400, logit_bias=ends_strings(tok))


@pytest.mark.parametrize("method", METHODS)
def test_any_models_answer_is_an_instance(llm, method):
    person = llm.with_structured_output(Person, method=method).invoke("Who?")
    assert isinstance(person, Person)
    assert 0 <= person.age <= 150 and len(person.name) <= 8


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("schema", "keys"), [(City, {"name", "size"}), (SCHEMA, {"x", "on"})], ids=["TypedDict", "dict"]
)
def test_a_typed_dict_or_a_json_schema_gives_a_dict(llm, schema, keys, method):
    value = llm.with_structured_output(schema, method=method).invoke("Where?")
    assert isinstance(value, dict)
    assert value.keys() == keys
    assert type(value.get("size", 0)) is int and type(value.get("on", True)) is bool


def test_a_schema_without_a_title_is_a_schema(llm):
    bare = {key: value for key, value in SCHEMA.items() if key != "title"}
    for method in METHODS:
        assert llm.with_structured_output(bare, method=method).invoke("?").keys() == {"x", "on"}


def test_json_mode_without_a_schema_gives_any_object(llm):
    assert isinstance(llm.with_structured_output(method="json_mode").invoke("?"), dict)
    with pytest.raises(UsageError, match="needs a schema"):
        llm.with_structured_output()


@pytest.mark.parametrize("method", METHODS)
def test_batch_stream_and_async_give_what_invoke_gives(llm, method):
    chain = ChatPromptTemplate.from_messages([("user", "{q}")]) | llm.with_structured_output(Person, method=method)
    alone = chain.invoke({"q": "Who?"})
    assert chain.batch([{"q": "Who?"}] * 2) == [alone, alone]
    assert asyncio.run(chain.ainvoke({"q": "Who?"})) == alone
    assert list(chain.stream({"q": "Who?"}))[-1] == alone

    async def last():
        return [value async for value in chain.astream({"q": "Who?"})][-1]

    assert asyncio.run(last()) == alone


@pytest.mark.parametrize("method", METHODS)
def test_the_raw_message_comes_with_the_value_where_asked(llm, method):
    both = llm.with_structured_output(Person, method=method, include_raw=True).invoke("Who?")
    assert isinstance(both["raw"], AIMessage) and isinstance(both["parsed"], Person)
    assert both["parsing_error"] is None
    assert both["raw"].usage_metadata["output_tokens"] > 10


@pytest.mark.parametrize("method", METHODS)
def test_an_answer_that_was_cut_off_is_an_error_with_its_beginning(llm, method):
    chain = llm.with_structured_output(Person, method=method, max_tokens=24)
    for run in (chain.invoke, lambda q: list(chain.stream(q)), lambda q: chain.batch([q])):
        with pytest.raises(TruncatedError, match="cut off before it was whole; raise max_tokens") as caught:
            run("Who?")
        assert caught.value.partial
    raw = llm.with_structured_output(Person, method=method, max_tokens=24, include_raw=True).invoke("Who?")
    assert raw["parsed"] is None and isinstance(raw["parsing_error"], TruncatedError)
    assert isinstance(raw["parsing_error"], ModelError)


def test_a_number_that_was_cut_off_is_no_number():
    cut = AIMessage("12", response_metadata={"finish_reason": "length"})
    with pytest.raises(TruncatedError):
        ValueParser({"type": "integer"}).invoke(cut)
    assert ValueParser({"type": "integer"}).invoke(AIMessage("12")) == 12


def test_an_answer_that_does_not_fit_says_where():
    with pytest.raises(ModelError, match=r"does not fit the schema: age: .*; it was: "):
        ValueParser(Person).invoke('{"name": "Ana", "age": 200, "pets": []}')
    with pytest.raises(ModelError, match="is no JSON"):
        ValueParser(Person).invoke("Ana is 31")


@pytest.mark.parametrize(
    "form",
    [{"type": "json_schema", "json_schema": {"name": "point", "schema": SCHEMA, "strict": True}}, Person, City],
    ids=["OpenAI's", "pydantic", "TypedDict"],
)
def test_response_format_holds_the_text_to_the_schema(llm, form):
    made = json.loads(llm.invoke("?", response_format=form).text)
    assert made.keys() in ({"x", "on"}, {"name", "age", "pets"}, {"name", "size"})
    assert json.loads("".join(chunk.text for chunk in llm.bind(response_format=form).stream("?"))) == made


def test_response_format_may_be_any_object_or_text(llm):
    assert isinstance(json.loads(llm.invoke("?", response_format={"type": "json_object"}).text), dict)
    plain = llm.invoke("?", max_tokens=5)
    assert llm.invoke("?", response_format={"type": "text"}, max_tokens=5).text == plain.text


def test_a_constraint_holds_the_text(llm):
    from chains.models.constraint import Constraint

    assert llm.invoke("?", constraint=Constraint.choice(["yes", "no"])).text in ("yes", "no")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"response_format": {"type": "xml"}}, "'type': 'json_schema'"),
        ({"response_format": {"type": "json_schema"}}, "'type': 'json_schema'"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": 3}}}, "has the schema 3"),
        ({"response_format": 3}, "3 is no schema"),
    ],
)
def test_a_response_format_that_cannot_be_used_is_refused_before_the_model_loads(given, said, folder):
    llm = LocalChat(folder)
    for call in (llm.bind, lambda **kw: llm.invoke("hi", **kw)):
        with pytest.raises(UsageError, match=said):
            call(**given)
    assert llm._loaded is None


def test_a_method_or_a_setting_that_is_unknown_is_refused(llm):
    with pytest.raises(UsageError, match="method='json' cannot be used; expected json_schema"):
        llm.with_structured_output(Person, method="json")
    with pytest.raises(UsageError, match="did you mean 'temperature'"):
        llm.with_structured_output(Person, temperatur=0)


def test_settings_that_were_bound_stay_under_a_schema(llm):
    with pytest.raises(TruncatedError):
        llm.bind(max_tokens=3).with_structured_output(Person).invoke("Who?")
