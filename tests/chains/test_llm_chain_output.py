"""LLMChain(output=…): the value is an instance of a pydantic class, from a local model and from any other."""

import asyncio

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import BaseModel, Field

from chains import LLMChain, LocalChat, runs
from chains.errors import ModelError, TruncatedError, UsageError
from tests import families


class Person(BaseModel):
    name: str = Field(max_length=6)
    age: int = Field(ge=0, le=150)


@pytest.fixture(scope="module")
def llm():
    tok = families.tokenizer("qwen")
    return LocalChat(
        families.model(tok), tok, temperature=1, seed=3, max_tokens=200, logit_bias=families.ends_strings(tok)
    )


class Remote(BaseChatModel):
    """A model of somewhere else: it answers with the tool call that it was asked for."""

    args: dict
    finish: str = "stop"

    def bind_tools(self, tools, **kwargs):
        return self.bind(tools=tools)

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        calls = [{"name": "Person", "args": self.args, "id": "1"}] if self.args else []
        usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        message = AIMessage(
            "", tool_calls=calls, usage_metadata=usage, response_metadata={"finish_reason": self.finish}
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    @property
    def _llm_type(self):
        return "remote"


def test_the_value_is_an_instance_under_the_output_key(llm):
    chain = LLMChain(llm=llm, prompt="Extract: {text}", output=Person, output_key="person")
    made = chain.invoke({"text": "Ana is 31"})
    assert made.keys() == {"text", "person"}
    assert isinstance(made["person"], Person)
    assert chain.run("Ana is 31") == made["person"]


def test_all_forms_give_the_same_and_a_batch_is_one_call(llm, monkeypatch):
    chain = LLMChain(llm=llm, prompt="{x}", output=Person)
    alone = chain.run("a")
    sizes, real = [], llm.engine.outcomes
    monkeypatch.setattr(llm.engine, "outcomes", lambda asked: sizes.append(len(asked)) or real(asked))
    assert [made["text"] for made in chain.batch(["a", "a", "a"])] == [alone] * 3
    assert sizes == [3]
    assert asyncio.run(chain.ainvoke("a"))["text"] == alone
    chunks = list(chain.stream("a"))
    assert sum(chunks[1:], chunks[0]) == {"x": "a", "text": alone}


@pytest.mark.parametrize("form", ["bind", "with_config"])
def test_what_was_bound_stays(llm, form):
    bound = llm.bind(max_tokens=5) if form == "bind" else llm.with_config(tags=["mine"]).bind(max_tokens=5)
    with pytest.raises(TruncatedError):
        LLMChain(llm=bound, prompt="{x}", output=Person).run("a")


def test_an_answer_that_was_cut_off_is_an_error_with_its_beginning(llm):
    chain = LLMChain(llm=llm, prompt="{x}", output=Person)
    with pytest.raises(TruncatedError) as caught:
        chain.invoke("a", max_tokens=6)
    assert caught.value.partial.startswith('{"')
    with pytest.raises(TruncatedError):
        list(chain.stream("a", max_tokens=6))
    assert all(
        isinstance(made, TruncatedError) for made in chain.batch(["a", "b"], max_tokens=6, return_exceptions=True)
    )


def test_the_run_keeps_what_the_model_said(llm):
    value = LLMChain(llm=llm, prompt="{x}", output=Person).run("a")
    run = runs.recent(1)[0]
    assert Person.model_validate_json(run.answer) == value
    assert run.usage["output_tokens"] > 5


def test_another_model_is_asked_for_structured_output():
    chain = LLMChain(llm=Remote(args={"name": "Ana", "age": 31}), prompt="{x}", output=Person)
    assert chain.run("a") == Person(name="Ana", age=31)
    assert runs.recent(1)[0].usage == {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    chunks = list(chain.stream("a"))
    assert sum(chunks[1:], chunks[0])["text"] == Person(name="Ana", age=31)
    with pytest.raises(ModelError, match="does not fit the schema"):
        LLMChain(llm=Remote(args={"name": "Ana", "age": 310}), prompt="{x}", output=Person).run("a")
    with pytest.raises(TruncatedError):
        LLMChain(llm=Remote(args={}, finish="length"), prompt="{x}", output=Person).run("a")


def test_what_cannot_be_used_is_refused_when_built(llm, model):
    with pytest.raises(UsageError, match="give a pydantic class"):
        LLMChain(llm=llm, prompt="{x}", output={"type": "object"})
    with pytest.raises(UsageError, match="output and output_parser both"):
        LLMChain(llm=llm, prompt="{x}", output=Person, output_parser=StrOutputParser())
    with pytest.raises(UsageError, match="RuleModel cannot answer under a schema"):
        LLMChain(llm=model("ok"), prompt="{x}", output=Person)
