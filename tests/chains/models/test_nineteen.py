"""What people report as broken in LangChain's own local chat models, each held here as a test of LocalChat."""

import asyncio
import subprocess
import sys
import time

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel, Field

from chains import LocalChat, UsageError, load_model
from tests import families
from tests.families import ends_strings, model


class Mood(BaseModel):
    mood: str = Field(max_length=6)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture(scope="module")
def llm():
    tok = families.tokenizer("qwen")
    return LocalChat(model(tok), tok, temperature=1, seed=2, max_tokens=200, logit_bias=ends_strings(tok))


@pytest.fixture
def plain(llama, tokenizer):
    """A model that answers in printable letters and goes on to its limit."""
    return LocalChat(llama, tokenizer, temperature=1, seed=2, max_tokens=20)


@pytest.fixture
def requests(monkeypatch, llm):
    """What the engine is asked, call by call."""
    seen, real = [], llm.engine.outcomes
    monkeypatch.setattr(llm.engine, "outcomes", lambda asked: seen.append(asked) or real(asked))
    return seen


def test_01_tools_that_are_bound_reach_the_prompt(llm, requests):
    llm.bind_tools([add]).invoke("2 + 3?", max_tokens=2)
    assert "Add two numbers." in llm.tokenizer.decode(requests[0][0].prompt_ids)


def test_02_a_tools_result_and_an_answers_beginning_can_be_sent(llm):
    call = AIMessage("", tool_calls=[{"name": "add", "args": {"a": 2, "b": 3}, "id": "1"}])
    talk = [HumanMessage("2 + 3?"), call, ToolMessage("5", tool_call_id="1")]
    assert isinstance(llm.bind_tools([add]).invoke(talk, max_tokens=2), AIMessage)
    assert llm.show([*talk, AIMessage("It is")]).text.endswith("It is")


def test_03_structured_output_takes_a_pydantic_class(llm):
    assert isinstance(llm.with_structured_output(Mood).invoke("Well?"), Mood)


def test_04_a_json_schema_holds_the_answer_and_is_not_dropped(llm, requests):
    assert isinstance(llm.with_structured_output(Mood, method="json_schema").invoke("Well?"), Mood)
    assert requests[0][0].constraint is not None


def test_05_stop_texts_end_an_invoke(plain):
    whole = plain.invoke("hi").text
    assert plain.invoke("hi", stop=[whole[5:7]]).text == whole[: whole.index(whole[5:7])]


def test_06_a_stop_text_of_several_tokens_ends_a_stream(plain):
    whole = plain.invoke("hi").text
    stop = whole[5:9]
    streamed = "".join(chunk.text for chunk in plain.stream("hi", stop=[stop]))
    assert streamed == whole[: whole.index(stop)]


def test_07_a_batch_is_one_call_of_the_engine(llm, requests):
    llm.batch(["one", "two", "three", "four"], max_tokens=3)
    llm.generate([[HumanMessage("one")]], max_tokens=3)
    assert [len(asked) for asked in requests] == [4, 1]


def test_08_how_many_run_together_is_the_models_own_setting(llm):
    assert LocalChat(llm.model, llm.tokenizer, max_batch=3).engine.max_batch == 3


def test_09_the_prompt_is_not_in_the_answer(llm):
    assert "echo me" not in llm.invoke("echo me").text


def test_10_settings_of_the_call_and_of_the_model_are_heeded(llm, requests):
    llm.invoke("hi", max_tokens=3, temperature=0, top_p=0.5, seed=9)
    LocalChat(llm.model, llm.tokenizer, max_tokens=4)
    sampling = requests[0][0].sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.seed) == (3, 0, 0.5, 9)
    assert llm.invoke("hi", max_tokens=3).usage_metadata["output_tokens"] <= 3


@pytest.mark.parametrize("family", ["llama3", "mistral", "gemma"])
def test_11_the_prompt_begins_with_one_beginning(family):
    tok = families.tokenizer(family)
    ids = LocalChat(model(tok), tok).show("hi").token_ids
    assert ids[0] == tok.bos_token_id and ids.count(tok.bos_token_id) == 1


@pytest.mark.parametrize("family", ["qwen", "llama3", "mistral", "gemma", "ours"])
def test_12_control_tokens_that_others_wrote_stay_text(family):
    tok = families.tokenizer(family)
    llm = LocalChat(model(tok), tok)
    forged = "".join(tok.added_tokens_encoder)
    inside = set(tok.added_tokens_encoder.values())

    def controls(messages):
        return [i for i in llm.show(messages).token_ids if i in inside]

    call = AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1, "b": 2}, "id": "abcdefghi"}])
    for make in (
        lambda text: [HumanMessage(text)],
        lambda text: [HumanMessage(f"Passages:\n{text}\nQuestion: why?")],
        lambda text: [HumanMessage("?"), call, ToolMessage(text, tool_call_id="abcdefghi")],
        lambda text: [HumanMessage("?"), AIMessage(text), HumanMessage("?")],
    ):
        assert controls(make(forged)) == controls(make("plain"))
    if family in ("qwen", "llama3", "ours"):
        assert controls([SystemMessage(forged), HumanMessage("?")]) == controls([SystemMessage("x"), HumanMessage("?")])


def test_13_async_forms_answer(llm):
    async def all_forms():
        streamed = [chunk.text async for chunk in llm.astream("hi", max_tokens=8)]
        return (await llm.ainvoke("hi", max_tokens=8)).text, "".join(streamed)

    one, streamed = asyncio.run(all_forms())
    assert one == streamed == llm.invoke("hi", max_tokens=8).text


def test_14_a_failure_inside_a_stream_is_raised_at_once(llm, monkeypatch):
    def broken(request):
        yield "a"
        raise RuntimeError("out of memory")

    monkeypatch.setattr(llm.engine, "stream", broken)
    begun = time.monotonic()
    with pytest.raises(RuntimeError, match="out of memory"):
        list(llm.stream("hi"))
    assert time.monotonic() - begun < 5


def test_15_usage_finish_reason_and_logprobs_are_there(llm):
    answer = llm.invoke("hi", max_tokens=3, logprobs=True, ignore_ends=True)
    assert answer.usage_metadata["output_tokens"] == 3
    assert answer.response_metadata["finish_reason"] == "length"
    assert len(answer.response_metadata["logprobs"]["content"]) == 3


def test_16_all_of_several_answers_are_kept(plain):
    (generations,) = plain.generate([[HumanMessage("hi")]], n=4, max_tokens=12).generations
    assert len({generation.text for generation in generations}) == 4


def test_17_a_model_in_memory_is_used_with_its_tokenizer(llm):
    assert llm.model.config.name_or_path == ""
    assert llm.invoke("hi", max_tokens=4).response_metadata["model_name"] == "LlamaForCausalLM"


def test_18_every_kind_of_model_name_that_an_error_offers_is_one(monkeypatch, folder):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    with pytest.raises(UsageError) as caught:
        load_model("pipeline:gpt2")
    for form, name in [("hf:", f"hf:{folder}"), ("openai:", "openai:tiny"), ("fake:", "fake:hello")]:
        assert form in str(caught.value)
        assert load_model(name) is not None


def test_19_another_engine_can_stand_behind_the_model(llm):
    """Whatever has `outcomes`, `stream` and `room` serves: no list of classes is asked."""

    class Echo:
        def room(self, length, max_tokens):
            return max_tokens

        def outcomes(self, requests):
            from chains.models.engine import Completion

            return [Completion([5], [], f"{len(request.prompt_ids)} tokens", "stop") for request in requests]

    other = LocalChat(llm.model, llm.tokenizer)
    other._loaded.engine = lambda max_batch: Echo()
    assert other.invoke("hi").text == f"{len(other.show('hi').token_ids)} tokens"


def test_loading_prints_nothing_and_needs_no_server(folder):
    code = f"from chains import LocalChat; print(len(LocalChat({str(folder)!r}, max_tokens=2).invoke('hi').text) >= 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("True", "")
