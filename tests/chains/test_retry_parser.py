"""RetryParser: the model sees its answer and the error, and what it says then is parsed."""

import asyncio

import pytest
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel

from chains import runs
from chains.errors import ModelError, UsageError
from chains.llm_chain import LLMChain
from chains.models.fake import FakeChat
from chains.retry_parser import RetryParser


class Person(BaseModel):
    name: str
    age: int


def asking(llm, parser=None, **settings):
    parser = RetryParser(parser or JsonOutputParser(), llm, **settings)
    return LLMChain(llm=llm, prompt="{q}", output_key="data", output_parser=parser)


def test_a_good_answer_is_not_asked_again():
    llm = FakeChat(['{"a": 1}'])
    assert asking(llm).run("x") == {"a": 1}
    assert len(llm.prompts) == 1


def test_the_model_is_shown_its_answer_the_error_and_the_form():
    llm = FakeChat(['{"name": "Ana"}', '{"name": "Ana", "age": 31}'])
    assert asking(llm, PydanticOutputParser(pydantic_object=Person)).run("x") == Person(name="Ana", age=31)
    again = llm.prompts[1][0].text
    assert 'cannot be used:\n{"name": "Ana"}\n' in again
    assert "Field required" in again  # pydantic's own words
    assert '"properties"' in again  # the schema
    assert "troubleshooting" not in again


def test_a_text_without_json_is_asked_again_too():
    llm = FakeChat(["미안합니다.", '{"a": 1}'])
    assert asking(llm).run("x") == {"a": 1}
    assert llm.prompts[1][0].text.startswith("이 답은 쓸 수 없습니다:\n미안합니다.")


def test_it_gives_up_with_the_last_error():
    llm = FakeChat(["one", "two", "three"])
    with pytest.raises(ModelError, match="could not be parsed after 2 more tries"):
        asking(llm, RunnableLambda(lambda message: float(getattr(message, "text", message)))).run("x")
    assert len(llm.prompts) == 3


def test_what_is_not_the_answers_fault_is_not_asked_again():
    def refuse(message):
        raise UsageError("the table is closed")

    llm = FakeChat(["x"])
    with pytest.raises(UsageError, match="the table is closed"):
        asking(llm, RunnableLambda(refuse)).run("x")
    assert len(llm.prompts) == 1


def test_a_batch_asks_again_for_the_bad_ones_together(model):
    llm = model(lambda text: "7" if "cannot be used" in text else text)
    parser = RunnableLambda(lambda message: int(getattr(message, "text", message)))
    assert [made["data"] for made in asking(llm, parser).batch(["1", "a", "3", "b"])] == [1, 7, 3, 7]
    assert llm.batches == [4, 2]


def test_each_try_is_a_step_and_async_and_streams_work():
    answers = ["no", '{"a": 1}']
    asking(FakeChat(answers)).run("x")
    run = runs.get(runs.recent(1)[0].id)
    assert [step.name for step in run.steps] == ["mend"]
    assert run.answer == "no" and run.output == {"a": 1}
    assert asyncio.run(asking(FakeChat(answers)).ainvoke("x"))["data"] == {"a": 1}
    assert list(asking(FakeChat(['{"a": 1}'])).stream("x"))[-1]["data"] == {"a": 1}


def test_what_cannot_be_used_is_refused():
    with pytest.raises(UsageError, match="tries=0"):
        RetryParser(JsonOutputParser(), FakeChat(["x"]), tries=0)
    with pytest.raises(UsageError, match="parser is a ModelMetaclass; give"):
        RetryParser(Person, FakeChat(["x"]))


def test_a_local_model_is_asked_again(local):
    llm = local(2048)
    with pytest.raises(ModelError, match="after 1 more tries"):
        asking(llm, PydanticOutputParser(pydantic_object=Person), tries=1).run("x")
    assert [step.name for step in runs.get(runs.recent(1)[0].id).steps] == ["mend"]
