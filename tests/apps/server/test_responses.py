"""/v1/responses through the official client: the answers are those of the chat, as items and events, and a conversation goes on."""

import json

import openai
import pytest

from apps.server.database import Database
from apps.server.responses import store
from tests.apps.server import live

ASK = "What colour is the sky?"
COLOUR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "name": "paint", "description": "Paint it.", "parameters": COLOUR}
GIVEN = {"model": "starter", "temperature": 0, "max_output_tokens": 12}


def chat(client, *turns, **given):
    """What /v1/chat/completions answers."""
    messages = [{"role": role, "content": text} for role, text in turns]
    made = client.chat.completions.create(model="starter", temperature=0, max_tokens=12, messages=messages, **given)
    return made.choices[0].message.content


def test_a_response_is_the_chats_answer(client):
    made = client.responses.create(input=ASK, instructions="Be kind.", metadata={"k": "v"}, **GIVEN)
    assert made.output_text == chat(client, ("system", "Be kind."), ("user", ASK)) != ""
    assert (made.status, made.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    counted = client.chat.completions.create(
        model="starter",
        messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": ASK}],
        max_tokens=1,
    )
    assert (made.usage.input_tokens, made.usage.output_tokens) == (counted.usage.prompt_tokens, 12)
    kept = client.responses.retrieve(made.id)
    assert kept.to_dict() == made.to_dict() and kept.metadata == {"k": "v"}
    (item,) = client.responses.input_items.list(made.id)
    assert (item.role, item.content[0].text) == ("user", ASK)


def test_a_conversation_goes_on_from_a_response_and_instructions_do_not(client):
    first = client.responses.create(input=ASK, instructions="Be kind.", **GIVEN)
    second = client.responses.create(input="And the grass?", previous_response_id=first.id, **GIVEN)
    turns = [("user", ASK), ("assistant", first.output_text), ("user", "And the grass?")]
    assert second.output_text == chat(client, *turns)
    third = client.responses.create(input="Why?", previous_response_id=second.id, **GIVEN)
    assert third.output_text == chat(client, *turns, ("assistant", second.output_text), ("user", "Why?"))
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(input="x", previous_response_id=third.id, **GIVEN)
    assert caught.value.code == "previous_response_not_found"


def test_what_is_not_to_be_kept_is_not(client):
    made = client.responses.create(input=ASK, store=False, **GIVEN)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    assert not Database().rows("SELECT id FROM responses WHERE id = ?", (made.id,))


def test_a_stream_tells_everything_in_order_and_adds_up(client):
    whole = client.responses.create(input=ASK, **GIVEN)
    with client.responses.stream(input=ASK, **GIVEN) as stream:
        events = list(stream)
    final = client.responses.retrieve(events[-1].response.id)
    assert (
        final.output_text
        == whole.output_text
        == "".join(e.delta for e in events if e.type == "response.output_text.delta")
    )
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events if not event.type.endswith(".delta")]
    assert kinds == ["created", "in_progress", "output_item.added", "content_part.added", "output_text.done", "content_part.done",
                     "output_item.done", "incomplete"]  # fmt: skip
    assert len(events) > len(kinds) + 3 and events[0].response.output == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_demanded_call_is_an_item_and_its_output_is_read(client, stream):
    ask = {"model": "starter", "input": ASK, "tools": [TOOL], "max_output_tokens": 120, "parallel_tool_calls": False}
    for choice in ("required", {"type": "function", "name": "paint"}):
        if stream:
            with client.responses.stream(**ask, tool_choice=choice) as events:
                made = events.get_final_response()
        else:
            made = client.responses.create(**ask, tool_choice=choice)
        (call,) = [item for item in made.output if item.type == "function_call"]
        assert (
            call.name == "paint"
            and json.loads(call.arguments)["colour"] in ("red", "blue")
            and made.status == "completed"
        )
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "done"}
    after = client.responses.create(input=[output], previous_response_id=made.id, **GIVEN)
    by_hand = client.responses.create(
        input=[
            {"role": "user", "content": ASK},
            call.to_dict(),
            {**output, "output": [{"type": "input_text", "text": "done"}]},
        ],
        **GIVEN,
    )
    assert after.output_text == by_hand.output_text != chat(client, ("user", ASK))


def test_an_answer_under_a_schema_is_the_schemas(client):
    form = {"format": {"type": "json_schema", "name": "sky", "schema": COLOUR, "strict": True}}
    made = client.responses.create(model="starter", input=ASK, max_output_tokens=60, text=form)
    assert json.loads(made.output_text)["colour"] in ("red", "blue") and made.text.format.name == "sky"


def test_logprobs_are_the_chats(client):
    made = client.responses.create(input=ASK, include=["message.output_text.logprobs"], top_logprobs=2, **GIVEN)
    told = made.output[0].content[0].logprobs
    expected = client.chat.completions.create(
        model="starter",
        messages=[{"role": "user", "content": ASK}],
        temperature=0,
        max_tokens=12,
        logprobs=True,
        top_logprobs=2,
    )
    assert [each.token for each in told] == [each.token for each in expected.choices[0].logprobs.content]
    assert [len(each.top_logprobs) for each in told] == [2] * 12


REFUSED = [
    ({"input": []}, "input"), ({"input": [{"role": "robot", "content": "x"}]}, "role"), ({"temperature": 3}, "temperature"),
    ({"tools": [{"type": "web_search"}]}, "tools"), ({"background": True}, "background"), ({"truncation": "auto"}, "truncation"),
    ({"previous_response_id": "resp_none"}, "not found"), ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "'c'"),
    ({"input": "a " * 2000}, "context"), ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input"),
    ({"tool_choice": "required"}, "tool"), ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "schema"), ({"extra_body": {"odd": 1}}, "odd"),
    ({"input": [{"type": "reasoning", "id": "r", "summary": []}]}, "0 messages"), ({"input": [{"role": "user", "content": "a"}] * 1024, "instructions": "b"}, "1025 messages"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), REFUSED, ids=[str(place) for place in range(len(REFUSED))])
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_answered_is_refused_by_name(client, change, said, stream):
    with pytest.raises(openai.BadRequestError, match=said):
        client.responses.create(**{**GIVEN, "input": ASK, "stream": stream, **change})


def test_a_response_is_its_owners_and_is_kept_for_a_month(client, url):
    from apps.server import keys

    made = client.responses.create(input=ASK, **GIVEN)
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(made.id)
    stranger = live.client(url, keys.create(Database(), "s")[1])
    for call in (
        stranger.responses.retrieve,
        stranger.responses.delete,
        stranger.responses.cancel,
        lambda name: list(stranger.responses.input_items.list(name)),
    ):
        with pytest.raises(openai.NotFoundError):
            call(made.id)
    db = Database()
    db.write("UPDATE responses SET created_at = created_at - ? WHERE id = ?", (store.KEPT_S - 60, made.id))
    store.sweep(db)
    assert client.responses.retrieve(made.id)
    db.write("UPDATE responses SET created_at = created_at - 60 WHERE id = ?", (made.id,))
    store.sweep(db)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
