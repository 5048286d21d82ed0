"""Every setting of a call reaches the engine, several answers come from one prompt, and log-probabilities have OpenAI's shape."""

import asyncio

import pytest
import torch
from langchain_core.messages import HumanMessage

from chains import LocalChat, UsageError
from tests.families import model, tokenizer

GIVEN = {
    "temperature": 0.3, "max_tokens": 5, "top_p": 0.9, "top_k": 7, "min_p": 0.1, "repetition_penalty": 1.2,
    "presence_penalty": 0.5, "frequency_penalty": -0.5, "logit_bias": {3: 1.5}, "seed": 4, "stop": ("x",),
    "ignore_ends": True, "logprobs": True, "top_logprobs": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def parts():
    tok = tokenizer("qwen")
    return model(tok), tok


@pytest.fixture
def asked(monkeypatch):
    """Return a function that begins to note the requests of a model's engine."""

    def watch(llm):
        seen, engine = [], llm.engine
        outcomes, stream = engine.outcomes, engine.stream
        monkeypatch.setattr(engine, "outcomes", lambda requests: seen.extend(requests) or outcomes(requests))
        monkeypatch.setattr(engine, "stream", lambda request: seen.append(request) or stream(request))
        return seen

    return watch


@pytest.mark.parametrize("place", ["model", "call", "bound"])
def test_every_setting_reaches_the_engine(place, parts, asked):
    llm = LocalChat(*parts, **(GIVEN if place == "model" else {}))
    seen = asked(llm)
    given = GIVEN if place == "call" else {}
    runnable = llm.bind(**GIVEN) if place == "bound" else llm
    runnable.invoke("hi", **given)
    list(runnable.stream("hi", **given))
    runnable.batch(["hi", "ho"], **given)
    assert len(seen) == 4
    for request in seen:
        assert {name: getattr(request.sampling, name) for name in GIVEN} == GIVEN


def test_token_ids_of_a_bias_may_be_texts_as_json_has_them(parts, asked):
    llm = LocalChat(*parts, max_tokens=2)
    seen = asked(llm)
    llm.invoke("hi", logit_bias={"65": 2})
    assert seen[0].sampling.logit_bias == {65: 2.0}
    with pytest.raises(UsageError, match="logit_bias names token 99999"):
        llm.invoke("hi", logit_bias={99999: 1})


def test_several_answers_come_from_one_call_of_the_engine(parts, calls):
    llm = LocalChat(*parts, temperature=1, max_tokens=8, seed=3)
    sizes = calls(llm)
    (three, again) = llm.generate([[HumanMessage("hi")], [HumanMessage("hi")]], n=3).generations
    assert [generation.text for generation in three] == [generation.text for generation in again]
    assert len({generation.text for generation in three}) == 3
    assert sizes == [3, 3]
    assert three[0].text == llm.invoke("hi").text == llm.invoke("hi", n=3).text
    assert three[2].text == llm.invoke("hi", seed=5).text
    assert {generation.message.usage_metadata["output_tokens"] for generation in three} <= set(range(1, 9))
    assert [message.text for message in llm.batch(["hi", "hi"], n=2)] == [three[0].text] * 2
    assert sizes[-1] == 4

    async def several():
        return await llm.agenerate([[HumanMessage("hi")]], n=3)

    assert [generation.text for generation in asyncio.run(several()).generations[0]] == [each.text for each in three]


def test_several_answers_are_not_streamed(parts):
    with pytest.raises(UsageError, match="n=2 cannot be streamed"):
        list(LocalChat(*parts, n=2).stream("hi"))


def test_logprobs_are_those_of_the_model_in_openais_shape(parts):
    network, _ = parts
    llm = LocalChat(*parts, temperature=0, max_tokens=6)
    answer = llm.invoke("hi", logprobs=True, top_logprobs=3)
    prompt = llm.show("hi").token_ids
    content = answer.response_metadata["logprobs"]["content"]
    assert len(content) == answer.usage_metadata["output_tokens"]
    said = b"".join(bytes(each["bytes"]) for each in content)
    ids = list(prompt)
    for each in content:
        with torch.no_grad():
            logps = torch.log_softmax(network(torch.tensor([ids])).logits[0, -1].float(), dim=-1)
        best = logps.topk(3)
        assert each["logprob"] == pytest.approx(best.values[0].item(), abs=1e-4)
        assert [top["logprob"] for top in each["top_logprobs"]] == pytest.approx(best.values.tolist(), abs=1e-4)
        assert each["top_logprobs"][0]["bytes"] == each["bytes"]
        ids.append(best.indices[0].item())
    assert answer.text in said.decode("utf-8", errors="replace")
    assert "logprobs" not in llm.invoke("hi").response_metadata
    chunks = list(llm.stream("hi", logprobs=True, top_logprobs=3))
    assert (chunks[0] + chunks[1:]).response_metadata["logprobs"]["content"] == content


def test_a_token_that_is_a_part_of_a_character_has_its_byte(parts):
    from chains.models.constraint import Constraint

    content = LocalChat(*parts).invoke("hi", logprobs=True, constraint=Constraint.choice(["공"])).response_metadata
    bytes_of = [each["bytes"] for each in content["logprobs"]["content"]][:3]
    assert bytes_of == [[byte] for byte in "공".encode()]


def test_streaming_answers_invoke_by_streaming(parts, asked):
    llm = LocalChat(*parts, streaming=True, temperature=0, max_tokens=4)
    assert llm.invoke("hi").text == LocalChat(*parts, temperature=0, max_tokens=4).invoke("hi").text
