"""Tools go into the prompt as the family's template writes them, and come back as calls, or as calls that cannot be read."""

import asyncio
import json

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from chains import LocalChat, UsageError
from chains.errors import TruncatedError
from chains.models.constraint import Constraint
from chains.models.engine import Completion
from tests.families import TEMPLATES, ends_strings, model, tokenizer

FAMILIES = list(TEMPLATES)


def add(a: int, b: int = 0) -> int:
    """Add two numbers."""
    return a + b


@tool
def now() -> str:
    """Tell the time."""
    return "noon"


class Weather(BaseModel):
    """Say what the weather is."""

    city: str = Field(max_length=5)


SUB = {
    "type": "function",
    "function": {
        "name": "sub",
        "description": "Subtract.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}
TOOLS = [add, now, Weather, SUB]
WRITTEN = {
    "qwen": '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>',
    "llama3": '{"name": "add", "parameters": {"a": 1, "b": 2}}',
    "mistral": '[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1, "b": 2}}]',
    "gemma": '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>',
    "ours": '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>',
    "none": '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>',
}
"""The same call as each family writes it."""


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def llm(family):
    tok = tokenizer(family)
    return LocalChat(model(tok), tok, temperature=1, seed=1, max_tokens=300, logit_bias=ends_strings(tok))


@pytest.fixture
def says(monkeypatch):
    """Return a function that makes a model's engine answer with a text, token by token."""

    def make(llm, text, finish="stop"):
        engine = llm.engine
        ids = llm.tokenizer.encode(text, add_special_tokens=False)

        def decoded(upto):
            return engine.tokenizer.decode(ids[:upto], skip_special_tokens=True, clean_up_tokenization_spaces=False)

        whole = Completion(ids, [], decoded(len(ids)), finish)

        def stream(request):
            for place in range(len(ids)):
                if piece := decoded(place + 1)[len(decoded(place)) :]:
                    yield piece
            yield whole

        monkeypatch.setattr(engine, "outcomes", lambda requests: [whole] * len(requests))
        monkeypatch.setattr(engine, "stream", stream)
        return llm

    return make


def calls_of(message):
    return [(call["name"], call["args"]) for call in message.tool_calls]


def total(chunks):
    chunks = list(chunks)
    return chunks[0] + chunks[1:]


def test_every_kind_of_tool_is_told_to_the_model(llm):
    text = llm.bind_tools(TOOLS).show("hi").text
    for said in ("Add two numbers.", "Tell the time.", "Say what the weather is.", "Subtract.", '"city"'):
        assert said in text
    assert "Add two numbers." not in llm.show("hi").text


def test_the_template_gets_the_tools_as_transformers_gives_them(llm, family):
    if family in ("gemma", "ours", "none"):
        pytest.skip("the template has no tools")
    asked = [{"role": "user", "content": "hi"}]
    definition = {
        "type": "function",
        "function": {"name": "sub", "description": "Subtract.", "parameters": SUB["function"]["parameters"]},
    }
    ids = llm.tokenizer.apply_chat_template(
        asked, tools=[definition], add_generation_prompt=True, sanitize_control_tokens=True, return_dict=False
    )
    assert llm.show("hi", tools=[SUB]).token_ids == ids
    assert llm.get_num_tokens_from_messages([HumanMessage("hi")], tools=[SUB]) == len(ids)


def test_a_template_without_tools_is_told_in_words_where_the_system_speaks(family, llm):
    if family in ("qwen", "llama3", "mistral"):
        pytest.skip("the template has tools")
    told = llm.show([HumanMessage("hi")], tools=[SUB]).text
    assert told.index("<tools>") < told.index("hi")
    assert json.dumps(SUB["function"]["parameters"])[:30] in told
    if family == "gemma":
        assert "system" not in told
    else:
        both = llm.show([SystemMessage("Be brief."), HumanMessage("hi")], tools=[SUB]).text
        assert both.lower().count("system") == 1
        assert both.index("Be brief.") < both.index("<tools>")


def test_a_call_is_read_back_from_the_familys_own_writing(llm, family, says):
    bound = says(llm, WRITTEN[family]).bind_tools(TOOLS)
    message = bound.invoke("1 + 2?")
    assert calls_of(message) == [("add", {"a": 1, "b": 2})]
    assert (message.text, message.invalid_tool_calls) == ("", [])
    streamed = total(bound.stream("1 + 2?"))
    assert calls_of(streamed) == calls_of(message)
    assert streamed.text == ""
    assert [chunk["name"] for chunk in streamed.tool_call_chunks] == ["add"]
    assert message.response_metadata["finish_reason"] == streamed.response_metadata["finish_reason"] == "tool_calls"


def test_text_before_a_call_is_the_answers_text_in_both_forms(family, llm, says):
    if family == "llama3":
        pytest.skip("in this form the whole answer is the call")
    bound = says(llm, "Let me see.\n" + WRITTEN[family]).bind_tools(TOOLS)
    message, streamed = bound.invoke("?"), total(bound.stream("?"))
    assert message.text == streamed.text == "Let me see."
    assert calls_of(message) == calls_of(streamed) == [("add", {"a": 1, "b": 2})]


def test_text_that_is_no_call_stays_text_in_both_forms(family, llm, says):
    for text in ("a < b and [x] {y}", '{"answer": 42}', "<tool", " spaced \n"):
        bound = says(llm, text).bind_tools(TOOLS)
        assert bound.invoke("?").content == text
        assert total(bound.stream("?")).content == text
        assert says(llm, WRITTEN[family]).invoke("?").tool_calls == []  # no tools were given, so none is called


def test_pieces_of_text_go_out_before_the_answer_ends(family, llm, says):
    bound = says(llm, "It is noon in Paris.").bind_tools(TOOLS)
    chunks = [chunk.text for chunk in bound.stream("?") if chunk.text]
    assert len(chunks) > 10
    assert "".join(chunks) == "It is noon in Paris."


TWO = {
    "qwen": '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>\n<tool_call>\n{"name": "sub", "arguments": {"a": 1}}\n</tool_call>',
    "mistral": '[TOOL_CALLS] [{"name": "now", "arguments": {}}, {"name": "sub", "arguments": {"a": 1}}]',
}


@pytest.mark.parametrize("family", TWO, indirect=True)
def test_parallel_calls_are_all_read(family, llm, says):
    bound = says(llm, TWO[family]).bind_tools(TOOLS)
    for message in (bound.invoke("?"), total(bound.stream("?"))):
        assert calls_of(message) == [("now", {}), ("sub", {"a": 1})]
        assert len({call["id"] for call in message.tool_calls}) == 2


@pytest.mark.parametrize("family", ["qwen"], indirect=True)
def test_a_streamed_call_is_there_as_soon_as_it_ends(llm, says):
    bound = says(llm, TWO["qwen"]).bind_tools(TOOLS)
    places = [i for i, chunk in enumerate(bound.stream("?")) if chunk.tool_call_chunks]
    assert len(places) == 2 and places[0] < places[1]


BROKEN = {
    "no end": ("qwen", '<tool_call>\n{"name": "add", "arguments": {"a": 1', "add"),
    "no JSON": ("qwen", "<tool_call>\nadd(1, 2)\n</tool_call>", None),
    "no name": ("qwen", '<tool_call>\n{"arguments": {}}\n</tool_call>', None),
    "arguments that are a list": ("qwen", '<tool_call>\n{"name": "add", "arguments": [1]}\n</tool_call>', "add"),
    "bare, no end": ("llama3", '{"name": "add", "parameters": {"a": ', "add"),
    "listed, no end": ("mistral", '[TOOL_CALLS] [{"name": "add", "arguments"', "add"),
}


@pytest.mark.parametrize(("family", "text", "name"), BROKEN.values(), ids=BROKEN, indirect=["family"])
def test_a_malformed_call_is_kept_as_invalid_and_raises_nothing(family, text, name, llm, says):
    bound = says(llm, text).bind_tools(TOOLS)
    message, streamed = bound.invoke("?"), total(bound.stream("?"))
    for each in (message, streamed):
        (call,) = each.invalid_tool_calls
        assert call["name"] == name
        assert each.tool_calls == []
    raw = text.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>").removeprefix("[TOOL_CALLS] ")
    assert message.invalid_tool_calls[0]["args"] == raw.strip()
    assert message.invalid_tool_calls[0]["error"]


@pytest.mark.parametrize("family", ["qwen"], indirect=True)
def test_a_good_call_beside_a_malformed_one_is_good(llm, says):
    text = WRITTEN["qwen"] + "\n<tool_call>\n{oops\n</tool_call>"
    for message in (says(llm, text).bind_tools(TOOLS).invoke("?"), total(llm.bind_tools(TOOLS).stream("?"))):
        assert calls_of(message) == [("add", {"a": 1, "b": 2})]
        assert len(message.invalid_tool_calls) == 1


@pytest.mark.parametrize("family", ["qwen"], indirect=True)
def test_a_closing_mark_inside_an_argument_ends_nothing(llm, says):
    call = '<tool_call>\n{"name": "Weather", "arguments": {"city": "</tool_call>"}}\n</tool_call>'
    assert calls_of(says(llm, call).bind_tools(TOOLS).invoke("?")) == [("Weather", {"city": "</tool_call>"})]


NAMED = [{"type": "function", "function": {"name": "add"}}, "add"]


@pytest.mark.parametrize("choice", ["any", "required", True, *NAMED], ids=["any", "required", "True", "dict", "name"])
def test_a_demanded_call_is_made_under_the_tools_schema_by_any_model(llm, family, choice):
    bound = llm.bind_tools(TOOLS, tool_choice=choice, parallel_tool_calls=False)
    message = bound.invoke("hi")
    (call,) = message.tool_calls
    assert message.text == "" and message.invalid_tool_calls == []
    schemas = {"add": {"a", "b"}, "now": set(), "Weather": {"city"}, "sub": {"a"}}
    assert call["args"].keys() <= schemas[call["name"]]
    if choice in NAMED:
        assert call["name"] == "add"
        assert isinstance(call["args"]["a"], int)
    streamed = total(bound.stream("hi"))
    assert calls_of(streamed) == calls_of(message)


def test_demanded_calls_come_from_batch_and_async_as_from_invoke(llm):
    bound = llm.bind_tools([add], tool_choice="add")
    alone = calls_of(bound.invoke("hi"))
    assert [calls_of(message) for message in bound.batch(["hi", "hi"])] == [alone, alone]
    assert calls_of(asyncio.run(bound.ainvoke("hi"))) == alone

    async def pieces():
        return [chunk async for chunk in bound.astream("hi")]

    assert calls_of(total(asyncio.run(pieces()))) == alone


@pytest.mark.parametrize("family", ["qwen", "none"], indirect=True)
def test_a_demanded_call_that_is_cut_off_is_an_error_with_what_was_said(llm):
    bound = llm.bind_tools([add], tool_choice="required")
    with pytest.raises(TruncatedError, match="raise max_tokens") as caught:
        bound.invoke("hi", max_tokens=20)
    assert "<tool_call>".startswith(caught.value.partial[:11])
    with pytest.raises(TruncatedError):
        list(bound.stream("hi", max_tokens=20))
    good, bad = llm.bind_tools([add], tool_choice="required").batch(["hi", "ho"], max_tokens=20, return_exceptions=True)
    assert isinstance(good, TruncatedError) and isinstance(bad, TruncatedError)


def test_a_strict_tool_is_held_to_its_schema_when_the_model_calls_it_of_its_own_accord(llm, family):
    tok, seen = llm.tokenizer, []
    opens = {"qwen": "<tool_call>", "mistral": "[TOOL_CALLS]", "llama3": "{"}.get(family, "<")
    bias = {**ends_strings(tok), tok.convert_tokens_to_ids(opens): 12.0}
    for seed in range(4):
        message = llm.bind_tools([now], strict=True).invoke("hi", seed=seed, logit_bias=bias, max_tokens=120)
        assert message.invalid_tool_calls == [] or message.response_metadata["finish_reason"] == "length"
        seen += calls_of(message)
    if family in ("qwen", "mistral", "llama3"):
        assert ("now", {}) in seen


def test_beside_tools_an_answer_is_a_call_or_keeps_its_form(llm, family):
    class City(BaseModel):
        name: str = Field(max_length=5)

    bound = llm.bind_tools([Weather], response_format=City)
    ways = [{"seed": seed, "temperature": 6.0} for seed in range(16)]
    made = [bound.invoke("hi", **way) for way in ways]
    assert 0 < sum(bool(each.tool_calls) for each in made) < len(made)
    whole = [each for each in made if each.response_metadata["finish_reason"] != "length"]
    assert len(whole) > 12
    for each in whole:
        assert not each.invalid_tool_calls
        assert all(list(call["args"]) == ["city"] for call in each.tool_calls)
        assert each.tool_calls or City.model_validate_json(each.content)
    for way, each in zip(ways, made[:6], strict=False):
        streamed = total(bound.stream("hi", **way))
        assert streamed.content == each.content and calls_of(streamed) == calls_of(each)


@pytest.mark.parametrize("family", ["qwen", "none"], indirect=True)
def test_a_mark_in_a_formed_answer_opens_no_call(llm, says):
    said = '{"name": "<tool_call>"}'
    llm = says(llm, said)
    form = {"type": "json_object"}
    assert llm.invoke("hi", tools=[add], response_format=form).content == said
    assert "".join(chunk.content for chunk in llm.stream("hi", tools=[add], response_format=form)) == said


def test_no_choice_leaves_the_tools_out(llm):
    assert llm.show("hi", tools=[SUB], tool_choice="none").text == llm.show("hi").text


TALK = [
    HumanMessage("1 + 2?"),
    AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1, "b": 2}, "id": "call_1"}]),
    ToolMessage("3", tool_call_id="call_1"),
]


def test_calls_and_results_are_replayed_as_the_family_writes_them(llm, family):
    text = llm.bind_tools([add]).show(TALK).text
    assert WRITTEN[family].removesuffix("}]") in text
    assert text.index("1 + 2?") < text.rindex(WRITTEN[family][:20]) < text.rindex("3")
    result = {
        "qwen": "<tool_response>\n3\n</tool_response>",
        "llama3": '<|start_header_id|>ipython<|end_header_id|>\n\n"3"',
        "mistral": '[TOOL_RESULTS] {"content": "3", "call_id": ',
    }.get(family, '<tool_response>\n{"name": "add", "content": "3"}\n</tool_response>')
    assert result in text
    assert isinstance(llm.bind_tools([add]).invoke(TALK, max_tokens=5), AIMessage)


def test_a_call_is_sent_back_as_it_came(llm, family, says):
    came = says(llm, WRITTEN[family]).bind_tools(TOOLS).invoke("1 + 2?")
    result = ToolMessage("3", tool_call_id=came.tool_calls[0]["id"])
    text = llm.bind_tools(TOOLS).show([HumanMessage("1 + 2?"), came, result]).text
    assert WRITTEN[family].removesuffix("}]") in text


@pytest.mark.parametrize("family", ["qwen", "ours"], indirect=True)
def test_results_of_parallel_calls_share_a_turn(llm):
    two = AIMessage(
        "", tool_calls=[{"name": "now", "args": {}, "id": "1"}, {"name": "add", "args": {"a": 1}, "id": "2"}]
    )
    talk = [HumanMessage("?"), two, ToolMessage("noon", tool_call_id="1"), ToolMessage("1", tool_call_id="2")]
    text = llm.bind_tools(TOOLS).show(talk).text
    assert "</tool_response>\n<tool_response>" in text


def test_an_invalid_call_is_not_lost_when_it_is_sent_back(llm, family, says):
    (_, broken, _) = BROKEN["no end"]
    if family != "qwen":
        pytest.skip("one family is enough")
    came = says(llm, broken).bind_tools(TOOLS).invoke("?")
    assert '{"name": "add", "arguments": {"a": 1' in llm.show([HumanMessage("?"), came, HumanMessage("again")]).text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"tools": [add], "tool_choice": "ad"},
            "tool_choice='ad' cannot be used.*auto, none, required, any, add; did you mean 'add'",
        ),
        ({"tools": [], "tool_choice": "any"}, "asks for a call, and there are no tools"),
        ({"tools": [add, {"title": "add", "type": "object", "properties": {}}]}, "two tools are called 'add'"),
        ({"tools": [3]}, "3 cannot be a tool"),
        ({"tools": [{"type": "web_search"}]}, "cannot be a tool|has no function"),
        ({"tools": [add], "parallel_tool_calls": "no"}, "parallel_tool_calls='no' cannot be used"),
        ({"tools": [add], "constraint": Constraint.regex("a")}, "a constraint leaves no room for a tool call"),
    ],
)
def test_tools_that_cannot_be_used_are_refused_before_the_model_loads(given, said, folder):
    llm = LocalChat(folder)
    for call in (llm.bind, lambda **kw: llm.invoke("hi", **kw), lambda **kw: list(llm.stream("hi", **kw))):
        with pytest.raises(UsageError, match=said):
            call(**given)
    assert llm._loaded is None


@pytest.mark.parametrize("family", ["qwen"], indirect=True)
def test_settings_that_were_bound_stay_when_tools_are_bound(llm):
    bound = llm.bind(max_tokens=77).bind_tools([add], tool_choice="add")
    assert bound.kwargs["max_tokens"] == 77
    assert "Add two numbers." in bound.show("hi").text
    with pytest.raises(UsageError, match="no parameter 'max_tokns'"):
        bound.bind(max_tokns=3)


OWN = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "tool_calls": {
            "open_pattern": r"\[\[(?P<name>\w+)\s*", "close": "]]", "repeats": True, "content": "json",
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
        },
        "reasoning_content": {"open": "<think>", "close": "</think>", "content": "text"},
        "content": {"content": "text"},
    },
}  # fmt: skip


@pytest.mark.parametrize("family", ["qwen"], indirect=True)
def test_a_tokenizer_that_says_how_its_answers_are_read_is_taken_at_its_word(llm, says):
    llm.tokenizer.response_template = OWN
    bound = says(llm, '<think>hm</think>Sure. [[add {"a": 1}]]').bind_tools(TOOLS)
    for message in (bound.invoke("?"), total(bound.stream("?"))):
        assert calls_of(message) == [("add", {"a": 1})]
        assert message.text.strip() == "Sure."
        assert message.additional_kwargs["reasoning_content"] == "hm"
    assert says(llm, "[[add {oops]]").bind_tools(TOOLS).invoke("?").invalid_tool_calls[0]["args"] == "[[add {oops]]"


def test_chunks_are_langchains(llm):
    assert all(isinstance(chunk, AIMessageChunk) for chunk in llm.bind_tools([add]).stream("hi", max_tokens=4))
