"""/v1/chat/completions through the official client: the answers are the engine's own, in OpenAI's shape."""

import json

import openai
import pytest

from chains import load_model

ASK = [{"role": "user", "content": "What colour is the sky?"}]


def said(messages=ASK, **given):
    """What the model itself answers, without a server."""
    message = load_model("starter", **given).invoke([(m["role"], m["content"]) for m in messages])
    return message


def test_an_answer_is_the_models_own(client):
    made = client.chat.completions.create(model="starter", messages=ASK, temperature=0, max_completion_tokens=12)
    expected = said(temperature=0, max_tokens=12)
    assert made.choices[0].message.content == expected.content
    assert made.choices[0].finish_reason == expected.response_metadata["finish_reason"] == "length"
    counts = expected.usage_metadata
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (counts["input_tokens"], 12)
    assert made.object == "chat.completion" and made.model == "starter"


def test_a_stream_adds_up_to_the_answer_and_its_usage(client):
    chunks = list(
        client.chat.completions.create(
            model="starter", messages=ASK, temperature=0, max_tokens=12, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == said(temperature=0, max_tokens=12).content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 12
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert len(chunks) > 4


def test_n_answers_have_the_streams_of_seed_and_the_next(client):
    made = client.chat.completions.create(model="starter", messages=ASK, n=3, seed=7, max_tokens=8)
    expected = [said(temperature=1, seed=7 + i, max_tokens=8).content for i in range(3)]
    assert [choice.message.content for choice in made.choices] == expected
    assert len(set(expected)) == 3
    streamed = dict.fromkeys(range(3), "")
    for chunk in client.chat.completions.create(model="starter", messages=ASK, n=3, seed=7, max_tokens=8, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert list(streamed.values()) == expected


def test_logprobs_come_whole_and_streamed(client):
    ask = {"model": "starter", "messages": ASK, "temperature": 0, "max_tokens": 5, "logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(**ask).choices[0].logprobs.content
    expected = said(temperature=0, max_tokens=5, logprobs=True, top_logprobs=2).response_metadata["logprobs"]["content"]
    assert [t.logprob for t in whole] == pytest.approx([t["logprob"] for t in expected], abs=1e-5)
    assert [len(t.top_logprobs) for t in whole] == [2] * 5
    assert all(t.logprob == t.top_logprobs[0].logprob for t in whole)  # greedy
    streamed = [
        t
        for c in client.chat.completions.create(**ask, stream=True)
        for t in (c.choices[0].logprobs.content if c.choices[0].logprobs else [])
    ]
    assert [t.token for t in streamed] == [t.token for t in whole]


def test_stop_bias_and_penalties_reach_the_engine(client):
    free = client.chat.completions.create(model="starter", messages=ASK, temperature=0, max_tokens=12)
    text = free.choices[0].message.content
    cut = client.chat.completions.create(model="starter", messages=ASK, temperature=0, max_tokens=12, stop=[text[3:6]])
    assert cut.choices[0].message.content == text[: text.index(text[3:6])]
    assert cut.choices[0].finish_reason == "stop"
    token = load_model("starter").get_token_ids(" sky")[0]
    forced = client.chat.completions.create(
        model="starter", messages=ASK, temperature=0, max_tokens=3, logit_bias={token: 100}
    )
    one = load_model("starter")._load().tokenizer.decode([token])
    assert forced.choices[0].message.content == one * 3
    varied = client.chat.completions.create(
        model="starter", messages=ASK, temperature=0, max_tokens=3, logit_bias={token: 100}, frequency_penalty=2,
        presence_penalty=2,
    )  # fmt: skip
    assert varied.choices[0].message.content == one * 3  # 2 + 3 * 2 is no match for 100
    assert (
        client.chat.completions.create(
            model="starter", messages=ASK, temperature=0, max_tokens=12, frequency_penalty=2, presence_penalty=2
        )
        .choices[0]
        .message.content
        == said(temperature=0, max_tokens=12, frequency_penalty=2, presence_penalty=2).content
    )


def test_an_answer_under_a_schema_is_the_schemas(client):
    schema = {
        "type": "object",
        "properties": {"sky": {"enum": ["blue", "red"]}},
        "required": ["sky"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "Sky", "schema": schema, "strict": True}}
    for stream in (False, True):
        made = client.chat.completions.create(
            model="starter", messages=ASK, max_tokens=40, response_format=form, stream=stream
        )
        text = "".join(c.choices[0].delta.content or "" for c in made) if stream else made.choices[0].message.content
        assert json.loads(text)["sky"] in ("blue", "red")
    free = client.chat.completions.create(
        model="starter", messages=ASK, max_tokens=30, response_format={"type": "json_object"}, seed=1
    )
    assert free.choices[0].message.content.startswith("{")


TOOL = {
    "type": "function",
    "function": {
        "name": "paint",
        "description": "Paint it.",
        "parameters": {
            "type": "object",
            "properties": {"colour": {"enum": ["red", "blue"]}},
            "required": ["colour"],
            "additionalProperties": False,
        },
    },
}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "paint"}}])
def test_a_demanded_call_is_made(client, choice):
    ask = {"model": "starter", "messages": ASK, "tools": [TOOL], "tool_choice": choice, "max_tokens": 120}
    made = client.chat.completions.create(**ask, parallel_tool_calls=False).choices[0]
    (call,) = made.message.tool_calls
    assert call.function.name == "paint" and json.loads(call.function.arguments)["colour"] in ("red", "blue")
    assert made.finish_reason == "tool_calls"
    with client.chat.completions.stream(**ask, parallel_tool_calls=False) as stream:
        (streamed,) = stream.get_final_completion().choices[0].message.tool_calls
    assert json.loads(streamed.function.arguments)["colour"] in ("red", "blue")


def test_a_tool_that_is_not_wanted_is_not_called(client):
    made = client.chat.completions.create(
        model="starter", messages=ASK, tools=[TOOL], tool_choice="none", temperature=0, max_tokens=5
    )
    assert made.choices[0].message.content == said(temperature=0, max_tokens=5).content


def test_a_whole_conversation_with_calls_and_parts_is_read(client):
    call = {"id": "call_1", "type": "function", "function": {"name": "paint", "arguments": '{"colour": "red"}'}}
    made = client.chat.completions.create(
        model="starter",
        max_tokens=2,
        messages=[
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "Paint"}, {"type": "text", "text": " it."}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "done"},
        ],
    )
    assert made.usage.completion_tokens <= 2


BAD = [
    ({"temperature": -1}, "temperature"),
    ({"top_p": 2}, "top_p"),
    ({"n": 1000}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"logit_bias": {"x": 1}}, "logit_bias"),
    ({"logit_bias": {"99999": 1}}, "99999"),
    ({"top_logprobs": 3}, "logprobs"),
    ({"response_format": {"type": "xml"}}, "response_format"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": 1, "content": "x"}]}, "role"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "robot"),
    ({"messages": [{"role": "user", "content": "a " * 2000}]}, "context"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "image_url"),
    ({"tools": [{"type": "function"}]}, "function"),
    ({"tool_choice": "required"}, "tool"),
    ({"extra_body": {"temprature": 1}}, "temprature"),
]


@pytest.mark.parametrize(("change", "named"), BAD, ids=[named for _, named in BAD])
@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_request_is_refused_by_name(client, change, named, stream):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": "starter", "messages": ASK, "stream": stream, **change})
    assert named in str(caught.value.body["message"]) and caught.value.type == "invalid_request_error"


def test_an_unknown_model_is_not_found(client):
    for name in ("gpt-nothing", "hf:/etc", "../starter", "ft:a:b:c:d"):
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model=name, messages=ASK)
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
