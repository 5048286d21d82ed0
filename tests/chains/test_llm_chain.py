"""LLMChain: one prompt, one call; as a Runnable among others."""

import asyncio
import json

import pytest
from langchain_core.output_parsers import CommaSeparatedListOutputParser, JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate
from langchain_core.runnables import RunnableLambda

from chains import runs
from chains.errors import UsageError, WiringError
from chains.llm_chain import LLMChain
from chains.prompt import Prompt


def upper(text):
    return text.upper()


def test_run_returns_the_answer_alone_and_invoke_the_inputs_with_it(model):
    chain = LLMChain(llm=model(upper), prompt="Describe {city}.")
    assert chain.run("Paris") == "DESCRIBE PARIS."
    assert chain.run(city="Rome") == "DESCRIBE ROME."
    assert chain.invoke({"city": "Oslo", "more": 1}) == {"city": "Oslo", "more": 1, "text": "DESCRIBE OSLO."}
    assert chain.invoke("Bern") == {"city": "Bern", "text": "DESCRIBE BERN."}


@pytest.mark.parametrize(
    "prompt",
    [
        PromptTemplate.from_template("Describe {city}."),
        ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "Describe {city}.")]),
        ChatPromptTemplate.from_messages([MessagesPlaceholder("past", optional=True), ("human", "Describe {city}.")]),
        PromptTemplate.from_template("{verb} {city}.").partial(verb="Describe"),
        Prompt("Describe {city}."),
    ],
    ids=["text", "chat", "placeholder", "partial", "ours"],
)
def test_langchain_templates_work_unchanged(model, prompt):
    chain = LLMChain(llm=model(upper), prompt=prompt)
    assert chain.run("Paris") == "DESCRIBE PARIS."
    assert chain.input_keys == ("city",)


def test_an_output_key_that_is_a_variable_is_refused_when_built(model):
    with pytest.raises(WiringError, match="output_key 'text' is also a variable"):
        LLMChain(llm=model(), prompt="Sum up: {text}")


def test_a_wrong_name_is_refused_with_the_near_one(model):
    chain = LLMChain(llm=model(), prompt="{city} in {style}")
    with pytest.raises(UsageError, match=r"has no input 'ciity'; it takes: city, style; did you mean 'city'\?"):
        chain.run(ciity="Paris", style="prose")
    with pytest.raises(UsageError, match="LLMChain needs 'style'; given: city"):
        chain.invoke({"city": "Paris"})
    with pytest.raises(UsageError, match="LLMChain takes city, style; give a dict"):
        chain.invoke("Paris")
    with pytest.raises(UsageError, match="not both"):
        chain.run("Paris", style="prose")


def test_what_is_no_model_or_prompt_is_refused(model):
    with pytest.raises(UsageError, match="llm is a str; give a chat model"):
        LLMChain(llm="starter", prompt="hi")
    with pytest.raises(UsageError, match="prompt is a int"):
        LLMChain(llm=model(), prompt=3)


def test_a_batch_is_one_batch_of_the_model_and_equals_single_calls(model):
    llm = model(upper)
    chain = LLMChain(llm=llm, prompt="Describe {city}.", output_parser=StrOutputParser())
    cities = ["Paris", {"city": "Rome"}, "Oslo"]
    together = chain.batch(cities)
    assert llm.batches == [3]
    assert together == [chain.invoke(city) for city in cities]


def test_an_item_that_fails_leaves_the_others_of_its_batch(model):
    def rule(text):
        if "bad" in text:
            raise ValueError("no")
        return text

    chain = LLMChain(llm=model(rule), prompt="{x}")
    good, missing, failed = chain.batch([{"x": "a"}, {"y": "b"}, {"x": "bad"}], return_exceptions=True)
    assert good == {"x": "a", "text": "a"}
    assert isinstance(missing, UsageError)
    assert isinstance(failed, ValueError)
    with pytest.raises(UsageError):
        chain.batch([{"x": "a"}, {"y": "b"}])
    assert chain.batch([]) == []


def test_chunks_of_a_stream_add_up_to_the_answer(model):
    chain = LLMChain(llm=model("one two three"), prompt="{x}")
    chunks = list(chain.stream({"x": "go", "more": 1}))
    assert [chunk["text"] for chunk in chunks] == ["one ", "two ", "three "]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole == {"x": "go", "more": 1, "text": "one two three "}


def test_a_json_parser_streams_fuller_values(model):
    chain = LLMChain(llm=model('{"a": [1, 2], "b": "x"}'), prompt="{q}", output_parser=JsonOutputParser())
    chunks = list(chain.stream("go"))
    assert chunks[0]["text"] == {}
    assert sum(chunks[1:], chunks[0]) == {"q": "go", "text": {"a": [1, 2], "b": "x"}}
    assert chain.run("go") == {"a": [1, 2], "b": "x"}


def test_any_parser_parses(model):
    chain = LLMChain(
        llm=model("red, blue"), prompt="{q}", output_parser=CommaSeparatedListOutputParser(), output_key="colours"
    )
    assert chain.invoke("x") == {"q": "x", "colours": ["red", "blue"]}
    assert runs.recent(1)[0].answer == "red, blue"  # the record keeps what the model said, for training
    with pytest.raises(ValueError):
        LLMChain(llm=model("no json"), prompt="{q}", output_parser=JsonOutputParser()).run("x")


def test_async_forms_return_what_the_others_do(model):
    chain = LLMChain(llm=model(upper), prompt="Go {x}")

    async def all_forms():
        return await chain.ainvoke("a"), await chain.abatch(["a", "b"]), [chunk async for chunk in chain.astream("a b")]

    one, two, chunks = asyncio.run(all_forms())
    assert (one, two) == (chain.invoke("a"), chain.batch(["a", "b"]))
    assert sum(chunks[1:], chunks[0]) == {"x": "a b", "text": "GO A B "}


def test_callbacks_of_the_config_reach_the_model(model, listener):
    chain = LLMChain(llm=model(), prompt="{x}")
    whole = ["chain start", "model start", "model end", "chain end"]
    chain.invoke("a", {"callbacks": [listener]})
    assert listener.heard == whole
    listener.heard.clear()
    list(chain.stream("a", {"callbacks": [listener]}))
    assert listener.heard == whole
    listener.heard.clear()
    asyncio.run(chain.ainvoke("a", {"callbacks": [listener]}))
    assert listener.heard == whole


def test_a_pipe_hears_its_events(model):
    async def names():
        pipe = LLMChain(llm=model("a b"), prompt="{x}") | RunnableLambda(lambda made: made["text"])
        return [(event["event"], event["name"]) async for event in pipe.astream_events("go", version="v2")]

    events = asyncio.run(names())
    assert ("on_chain_start", "LLMChain") in events
    assert events.count(("on_chat_model_stream", "RuleModel")) >= 2
    assert ("on_chain_end", "LLMChain") in events


def test_it_composes_with_pipes_and_retries(model):
    tries = []

    def rule(text):
        tries.append(text)
        if len(tries) < 3:
            raise ConnectionError("not yet")
        return "done"

    chain = LLMChain(llm=model(rule), prompt="{x}")
    pipe = chain.with_retry(wait_exponential_jitter=False) | RunnableLambda(lambda made: made["text"] + "!")
    assert pipe.invoke({"x": "a"}) == "done!"
    assert len(tries) == 3
    assert pipe.batch([{"x": "a"}, {"x": "b"}]) == ["done!", "done!"]
    assert "".join(pipe.stream({"x": "a"})) == "done !"


def test_settings_of_a_call_and_of_a_binding_reach_the_model(model):
    llm = model()
    LLMChain(llm=llm.bind(max_tokens=7), prompt="{x}").invoke("a", stop=["\n"])
    assert llm.settings == [{"stop": ["\n"], "max_tokens": 7}]
    run = runs.recent(1)[0]
    assert run.sampling == {"temperature": 0.5, "max_tokens": 7, "stop": ["\n"]}


def test_verbose_prints_the_exact_prompt_and_the_answer(model, capsys):
    prompt = Prompt.chat(system='As {"x": 1}', user="Say {word}")
    LLMChain(llm=model("well"), prompt=prompt, verbose=True).run("hi")
    assert (
        capsys.readouterr().out == '[LLMChain] prompt\nsystem: As {"x": 1}\nuser: Say hi\n[LLMChain] answer\nwell\n\n'
    )


def test_show_is_the_models_own_account_or_the_text(model):
    chain = LLMChain(llm=model(), prompt="Say {word}")
    assert chain.show(word="{hi}") == "Say {hi}"
    object.__setattr__(chain.llm, "show", lambda messages: [message.text for message in messages])
    assert chain.show(word="{hi}") == ["Say {hi}"]
    with pytest.raises(UsageError, match="no input 'wrod'"):
        chain.show(wrod="hi")


def test_the_run_is_the_exact_prompt_and_answer(model):
    llm = model("fine day")
    LLMChain(llm=llm, prompt=Prompt.chat(system="S", user="{x}?")).invoke(
        {"x": "how"}, {"metadata": {"session_id": "u1"}}
    )
    run = runs.recent(1)[0]
    assert run.messages == [{"role": "system", "content": "S"}, {"role": "user", "content": "how?"}]
    assert (run.inputs, run.answer, run.output, run.error) == ({"x": "how"}, "fine day", "fine day", None)
    assert (run.model, run.session, run.parent) == ("rule-1", "u1", None)
    assert run.usage == {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}
    assert run.started <= run.ended
    json.dumps(run.sampling)


def test_a_failed_run_is_recorded_with_its_error(model):
    def rule(text):
        raise ValueError("the roof is on fire")

    with pytest.raises(ValueError, match="roof"):
        LLMChain(llm=model(rule), prompt="{x}").run("a")
    assert runs.recent(1)[0].error == "ValueError: the roof is on fire"


def test_a_stream_left_half_read_is_recorded_so(model):
    stream = LLMChain(llm=model("one two three"), prompt="{x}").stream("a")
    next(stream)
    stream.close()
    assert runs.recent(1)[0].error == "the reader stopped before the answer was complete"
