"""A scripted chat model: it answers what it was told to, in turn, and keeps what it was asked. For tests, and for work on the pages.

llm = FakeChat(["one", "two"])
llm.invoke("Hello").text        # "one", then "two", then "one" again
llm.prompts                     # the messages of every call
"""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list
from pydantic import Field, ValidationError

from chains.errors import UsageError
from chains.models import settings


class FakeChat(settings.Sampled, BaseChatModel):
    """A chat model with a script. It takes the settings of LocalChat, so that one stands in for the other; of them `max_tokens` and
    `stop` change a scripted answer. A word counts as a token.
    """

    answers: list[str] = Field(min_length=1)
    model_name: str = "fake"
    prompts: list[list[BaseMessage]] = Field(default_factory=list, repr=False)
    """The messages of every call so far, in order."""

    def __init__(self, answers: Sequence[str], **fields: Any) -> None:
        own = [name for name in type(self).model_fields if name not in BaseChatModel.model_fields]
        settings.check_names("FakeChat", fields, own, hidden=BaseChatModel.model_fields)
        settings.checked({name: fields[name] for name in settings.NAMES if name in fields})
        if not answers:
            raise UsageError("the script is empty; give at least one answer")
        try:
            super().__init__(**{**fields, "answers": [answers] if isinstance(answers, str) else answers})
        except ValidationError as error:
            raise settings.one_sentence(error) from None
        _ = self._own, self._turn  # made now, before threads could each make one

    @cached_property
    def _own(self) -> settings.Own:
        """The settings of a call that gives none. Like the lock no private attribute of pydantic's, which takes 2 us to read."""
        return settings.Own()

    @cached_property
    def _turn(self) -> threading.Lock:
        return threading.Lock()

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Return an answer for each input, the script's next in the order of the inputs."""
        results = []
        for value, each in zip(inputs, get_config_list(config, len(inputs)), strict=True):
            results += super().batch([value], [each], return_exceptions=return_exceptions, **kwargs)
        return results

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Return an answer for each input, the script's next in the order of the inputs, awaiting."""
        results = []
        for value, each in zip(inputs, get_config_list(config, len(inputs)), strict=True):
            results += await super().abatch([value], [each], return_exceptions=return_exceptions, **kwargs)
        return results

    def replies(self, prompts: list[list[BaseMessage]], given: Mapping[str, Any]) -> list[AIMessage | Exception]:
        """Return the answer to each prompt, or what it failed with, past langchain_core's callbacks (chains/quiet.py)."""
        made: list[AIMessage | Exception] = []
        for messages in prompts:
            try:
                words, facts = self._answer(messages, given)
                made.append(AIMessage(content="".join(words), **facts))
            except Exception as error:
                made.append(error)
        return made

    async def areplies(self, prompts: list[list[BaseMessage]], given: Mapping[str, Any]) -> list[AIMessage | Exception]:
        """Return what replies returns; nothing is waited for."""
        return self.replies(prompts, given)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        words, facts = self._answer(messages, {"stop": stop, **kwargs})
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content="".join(words), **facts))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        words, facts = self._answer(messages, {"stop": stop, **kwargs})
        last = AIMessageChunk(content="", chunk_position="last", **facts)
        for message in [*(AIMessageChunk(content=word) for word in words), last]:
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(str(message.content), chunk=chunk)
            yield chunk

    def _answer(self, messages: list[BaseMessage], given: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """Return the next answer as words, each with the space before it, and what is said about it."""
        chosen = settings.for_call(self, given) if given else self._own.of(self)
        with self._turn:
            text = self.answers[len(self.prompts) % len(self.answers)]
            self.prompts.append(list(messages))
        words = _words(_until(text, chosen.stop))
        said = words[: chosen.max_tokens]
        read = sum([_count(message.content) for message in messages])
        return said, {
            "usage_metadata": UsageMetadata(input_tokens=read, output_tokens=len(said), total_tokens=read + len(said)),
            "response_metadata": {
                "finish_reason": "length" if len(said) < len(words) else "stop",
                "model_name": self.model_name,
            },
        }

    @property
    def _identifying_params(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in settings.NAMES}
        return {"model_name": self.model_name, "answers": self.answers, **own}

    @property
    def _llm_type(self) -> str:
        return "chaintune-fake"


def _until(text: str, stops: Sequence[str]) -> str:
    """Return `text` before the first of `stops`."""
    return (
        text[: min((place for stop in stops if (place := text.find(stop)) >= 0), default=len(text))] if stops else text
    )


def _count(content: str | list[Any]) -> int:
    """Return how many words a message's text has."""
    return len((content if isinstance(content, str) else AIMessage(content).text).split())


_words = re.compile(r"\s*\S+|\s+").findall
