"""One other client at work on the server, in its own environment: `python client_calls.py litellm|instructor URL`; prints what it got as JSON."""

import json
import sys

ASK = [{"role": "user", "content": "What colour is the sky?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "paint",
        "description": "Paint it.",
        "parameters": {
            "type": "object",
            "properties": {"ready": {"type": "boolean"}},
            "required": ["ready"],
            "additionalProperties": False,
        },
    },
}


def litellm(url):
    import litellm

    server = {"api_base": f"{url}/v1", "api_key": "none", "num_retries": 0}
    chat = {**server, "model": "openai/starter", "messages": ASK, "max_tokens": 120, "temperature": 0}
    whole = litellm.completion(**chat)
    chunks = list(litellm.completion(**chat, stream=True, stream_options={"include_usage": True}))
    streamed = litellm.stream_chunk_builder(chunks)
    called = litellm.completion(**chat, tools=[TOOL], tool_choice="required", parallel_tool_calls=False)
    embedded = litellm.embedding(
        **server, model="openai/all-MiniLM-L6-v2", input=["a red bicycle"], encoding_format="float"
    )
    try:
        litellm.completion(**{**chat, "model": "openai/nothing"})
        error = ""
    except litellm.NotFoundError as caught:
        error = type(caught).__name__
    return {
        "whole": whole.choices[0].message.content,
        "tokens": whole.usage.completion_tokens,
        "streamed": streamed.choices[0].message.content,
        "streamed_tokens": streamed.usage.completion_tokens,
        "call": json.loads(called.choices[0].message.tool_calls[0].function.arguments),
        "embedding": embedded.data[0]["embedding"],
        "error": error,
    }


def instructor(url):
    from typing import Literal

    import instructor
    import openai
    from pydantic import BaseModel, ConfigDict

    class Sky(BaseModel):
        """The colour of the sky, and whether it rains."""

        model_config = ConfigDict(extra="forbid")
        colour: Literal["blue", "red"]
        rains: bool

    made = {}
    for mode in ("TOOLS", "JSON_SCHEMA"):
        client = instructor.from_openai(
            openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0), mode=getattr(instructor.Mode, mode)
        )
        ask = {"model": "starter", "messages": ASK, "max_tokens": 120, "response_model": Sky, "max_retries": 0}
        made[mode] = client.chat.completions.create(**ask).model_dump()
        *_, last = client.chat.completions.create_partial(**{**ask, "max_retries": 1})
        made[f"{mode} streamed"] = last.model_dump()
    return made


if __name__ == "__main__":
    print(json.dumps({"litellm": litellm, "instructor": instructor}[sys.argv[1]](sys.argv[2])))
