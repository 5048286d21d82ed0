"""A chat model that answers by a rule and keeps what it was asked."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever
from pydantic import Field


class RuleModel(BaseChatModel):
    """Answers `rule(the last message's text)`; one token a word, so that usage can be counted by hand."""

    rule: Callable[[str], str]
    temperature: float = 0.5
    asked: list[list[BaseMessage]] = Field(default_factory=list)
    batches: list[int] = Field(default_factory=list)
    settings: list[dict[str, Any]] = Field(default_factory=list)

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self.asked.append(messages)
        self.settings.append({"stop": stop, **kwargs})
        text = self.rule(messages[-1].text)
        usage = {"input_tokens": 10, "output_tokens": len(text.split()), "total_tokens": 10 + len(text.split())}
        message = AIMessage(text, usage_metadata=usage, response_metadata={"model_name": "rule-1"})
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, messages, stop=None, run_manager=None, **kwargs) -> Iterator[ChatGenerationChunk]:
        self.asked.append(messages)
        for word in self.rule(messages[-1].text).split(" "):
            chunk = ChatGenerationChunk(message=AIMessageChunk(word + " "))
            if run_manager:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk

    def batch(self, inputs, *args, **kwargs):
        self.batches.append(len(inputs))
        return super().batch(inputs, *args, **kwargs)

    @property
    def _llm_type(self) -> str:
        return "rule"


@pytest.fixture
def model():
    """A maker of RuleModels: from a rule, or from the one text that is always answered."""

    def make(rule="ok"):
        return RuleModel(rule=rule if callable(rule) else lambda text: rule)

    return make


class Shelf(BaseRetriever):
    """Always returns the same passages."""

    passages: list[Document]
    asked: list[str] = Field(default_factory=list)

    def _get_relevant_documents(self, query, *, run_manager):
        self.asked.append(query)
        return self.passages


@pytest.fixture
def shelf():
    return lambda *passages: Shelf(passages=list(passages))


class Listener(BaseCallbackHandler):
    """Writes down the events it hears."""

    def __init__(self):
        self.heard = []

    def on_chain_start(self, serialized, inputs, **kwargs):
        self.heard.append("chain start")

    def on_chat_model_start(self, serialized, messages, **kwargs):
        self.heard.append("model start")

    def on_llm_end(self, response, **kwargs):
        self.heard.append("model end")

    def on_chain_end(self, outputs, **kwargs):
        self.heard.append("chain end")

    def on_chain_error(self, error, **kwargs):
        self.heard.append(f"chain error {error}")


@pytest.fixture
def listener():
    return Listener()


class Scripted(BaseChatModel):
    """Answers a script of texts and tool calls (name, args), and keeps what it was asked and offered."""

    script: list
    asked: list = Field(default_factory=list)
    offered: list = Field(default_factory=list)

    def bind_tools(self, tools, **kwargs):
        return self.bind(tools=[one.name for one in tools])

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self.offered.append(kwargs.get("tools"))
        said = self.script[len(self.asked) % len(self.script)]
        self.asked.append(list(messages))
        calls = said if isinstance(said, list) else []
        message = AIMessage(
            "" if calls else said,
            tool_calls=[
                {"name": name, "args": args, "id": f"call{len(self.asked)}.{n}"} for n, (name, args) in enumerate(calls)
            ],
            usage_metadata={"input_tokens": 10, "output_tokens": 2, "total_tokens": 12},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    @property
    def _llm_type(self):
        return "scripted"


@pytest.fixture
def scripted():
    """A maker of models with a script of texts and tool calls."""
    return lambda script: Scripted(script=script)


@pytest.fixture
def local():
    """A maker of local models with random weights and a context as long as asked for."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from chains.models.local_chat import LocalChat
    from tests import tiny

    def make(context, **settings):
        ends = {
            "bos_token_id": None,
            "eos_token_id": tiny.words().eos_token_id,
            "pad_token_id": tiny.words().pad_token_id,
        }
        torch.manual_seed(0)
        sizes = {"vocab_size": len(tiny.words()), "n_positions": context, "n_embd": 32, "n_layer": 2, "n_head": 4}
        model = GPT2LMHeadModel(GPT2Config(**sizes, **ends, initializer_range=0.4)).eval()
        return LocalChat(model, tiny.words(), **{"seed": 1, "max_tokens": 8, **settings})

    return make
