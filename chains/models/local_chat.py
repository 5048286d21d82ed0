"""A local model as a langchain_core chat model: in process, batched, streamed, with the settings of each call honoured.

    LocalChat("./my-model", temperature=0).invoke("Hello")
    LocalChat(model, tokenizer).batch(["one", "two"], max_tokens=20)      # one call of the engine
    llm.bind_tools([add], tool_choice="required").invoke("2 + 3?").tool_calls
    llm.with_structured_output(Person).invoke("Ana is 31.")               # a Person, decoded under its schema

The answer carries its token counts (`usage_metadata`) and, in `response_metadata`, `finish_reason`, `model_name` and, where asked
for, `logprobs` in OpenAI's shape.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from os import PathLike, fspath
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import run_in_executor
from pydantic import Field, PrivateAttr, ValidationError

from chains import quiet
from chains.errors import UsageError
from chains.models import asked, chat_prompt, settings, structured, together, weights
from chains.models.answer import Answer
from chains.models.awaiting import outcomes
from chains.models.bound import BoundChat
from chains.models.chat_prompt import Shown
from chains.models.exchange import Exchange, Posed, Streamed, exchange
from chains.models.tools import definitions

if TYPE_CHECKING:
    from chains.models.engine import Engine

T = TypeVar("T")


class LocalChat(settings.Sampled, BaseChatModel):
    """A chat model that runs in this process; its weights are read when it is first used.

    `model` is a folder (a LoRA adapter's too, whose base is loaded once for all its adapters), a hub id, or a transformers model in memory, which needs its `tokenizer` beside it. The sampling arguments
    are those of `Settings`, and any call or `.bind` may give others. A call also takes `tools`, `tool_choice`,
    `parallel_tool_calls` and `response_format` as OpenAI's does, and a `constraint` (see chains.models.constraint).
    """

    model: Any = Field(repr=False)
    tokenizer: Any = Field(default=None, repr=False)
    model_name: str = ""
    """What answers say they come from; the folder, the hub id or the model's class, where nothing is given."""
    streaming: bool = False
    """Answer `.invoke` by streaming, so that whoever listens hears each piece."""
    max_batch: Annotated[int, Field(ge=1)] = 64
    """The most prompts that run together."""
    device: str | None = None
    """`cpu`, `cuda`, `cuda:1` or `mps`; None takes the first GPU where there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto`: bfloat16 where the weights were saved in half precision and the device multiplies bfloat16 itself, else float32."""

    _loaded: weights.Loaded | None = PrivateAttr(None)
    _shared: together.Shared = PrivateAttr(default_factory=dict)

    def __init__(self, model: Any, tokenizer: Any = None, **fields: Any) -> None:
        own = [name for name in type(self).model_fields if name not in BaseChatModel.model_fields]
        settings.check_names("LocalChat", fields, own, hidden=BaseChatModel.model_fields)
        settings.checked({name: fields[name] for name in settings.NAMES if name in fields})
        try:
            super().__init__(**{**fields, "model": model, "tokenizer": tokenizer})
        except ValidationError as error:
            raise settings.one_sentence(error) from None
        if isinstance(model, str | PathLike):
            self._take_source(fspath(model))
        else:
            self._take_memory()

    def _take_source(self, source: str) -> None:
        if self.tokenizer is not None:
            raise UsageError("tokenizer is for a model in memory; a folder or hub id brings its own")
        self.model_name = self.model_name or source
        self.model = weights.check_source(source)

    def _take_memory(self) -> None:
        if not hasattr(self.model, "config") or self.tokenizer is None:
            raise UsageError(
                "model is a folder, a hub id, or a transformers model in memory with its tokenizer: LocalChat(model, tokenizer)"
            )
        if self.device is not None or self.dtype != "auto":
            raise UsageError(
                "device and dtype are for a model that is loaded from a folder; a model in memory stays as it is"
            )
        self.model_name = self.model_name or self.model.config.name_or_path or type(self.model).__name__
        if self.cache is None:
            self.cache = False  # its weights may change between calls, and a cached answer would not
        self._loaded = weights.Loaded(self.model, self.tokenizer)

    @property
    def engine(self) -> "Engine":
        """The engine that runs this model, which is loaded now if it is not yet."""
        return self._load().engine(self.max_batch)

    @property
    def adapter(self) -> str | None:
        """The LoRA adapter that answers, by its name in the engine's model; None for the model itself."""
        return self._load().adapter

    @property
    def lanes(self) -> int:
        """How many calls may be on their way so that the engine stays full: as many wait as run."""
        return 2 * self.max_batch

    def show(self, messages: LanguageModelInput, **given: Any) -> Shown:
        """Return the exact text and token ids that the model would be given by a call with these messages and arguments."""
        return chat_prompt.show(
            self._load(), self._convert_input(messages).to_messages(), asked.asked(self, given).tools
        )

    def prepare(self, messages: LanguageModelInput, **given: Any) -> Posed:
        """Return what a call with these messages and arguments asks of the engine, for whoever waits for it in a way of his own."""
        (posed,) = self._exchange([self._convert_input(messages).to_messages()], given).posed
        if isinstance(posed, UsageError):
            raise posed
        if (constraint := posed.requests[0].constraint) is not None:
            self.engine.prepare(constraint)
        return posed

    def get_token_ids(self, text: str) -> list[int]:
        """Return the ids of `text` by this model's tokenizer, nothing added."""
        return chat_prompt.text_ids(self._load(), text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Return how many tokens the model would be given for `messages` and `tools`."""
        return len(chat_prompt.encode(self._load(), messages, asked.asked(self, {"tools": tools}).tools))

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Return the model's message for each input; the engine takes all inputs at once."""
        configs, listened = quiet.heard(config, len(inputs))
        if listened or not quiet.has_own_way(self):
            work = partial(self._answers, given=kwargs)
            return _messages(together.batch(self, self._shared, work, inputs, configs, kwargs), return_exceptions)
        made = quiet.signed(self.replies([together.as_messages(self, value) for value in inputs], kwargs))
        return _messages(made, return_exceptions)

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Return the model's message for each input, awaiting; the engine takes all inputs at once."""
        configs, listened = quiet.heard(config, len(inputs))
        if listened or not quiet.has_own_way(self):
            work = partial(self._aanswers, given=kwargs)
            made = await together.abatch(self, self._shared, work, inputs, configs, kwargs)
            return _messages(made, return_exceptions)
        made = quiet.signed(await self.areplies([together.as_messages(self, value) for value in inputs], kwargs))
        return _messages(made, return_exceptions)

    def replies(self, prompts: Sequence[Any], given: Mapping[str, Any]) -> list[Any]:
        """Return the message, or what it failed with, for each prompt, past langchain_core's callbacks (chains/quiet.py).

        A prompt that is an exception already stays what it is.
        """
        made = iter(self._answers([prompt for prompt in prompts if not isinstance(prompt, Exception)], dict(given)))
        return [prompt if isinstance(prompt, Exception) else _first(next(made)) for prompt in prompts]

    async def areplies(self, prompts: Sequence[Any], given: Mapping[str, Any]) -> list[Any]:
        """Return what replies returns, awaiting."""
        made = iter(
            await self._aanswers([prompt for prompt in prompts if not isinstance(prompt, Exception)], dict(given))
        )
        return [prompt if isinstance(prompt, Exception) else _first(next(made)) for prompt in prompts]

    def bind(self, **kwargs: Any) -> Any:
        """Return this model with settings fixed for every call. Raises UsageError for one that it does not take."""
        asked.asked(self, kwargs)
        return BoundChat(bound=self, kwargs=kwargs, config={})

    def bind_tools(
        self,
        tools: Sequence[Any],
        *,
        tool_choice: Any = None,
        parallel_tool_calls: bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model with tools: functions, pydantic classes, langchain_core tools or OpenAI's dicts.

        `tool_choice`: 'auto' (the model decides), 'required' or 'any' (it must call), a tool's name, or 'none'. A call that it must
        make is decoded under the tool's schema; with `strict`, one of its own accord is, too. Raises TruncatedError, when called,
        where max_tokens cut a demanded call off.
        """
        given = {
            "tools": definitions(tools, strict),
            "tool_choice": tool_choice,
            "parallel_tool_calls": parallel_tool_calls,
        }
        return self.bind(**{name: value for name, value in given.items() if value is not None}, **kwargs)

    def with_structured_output(
        self,
        schema: Any = None,
        *,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return this model answering with an instance of a pydantic class, or with a dict under a TypedDict or JSON schema.

        The answer is decoded under the schema whatever `method` and `strict` say; `method` decides whether it is text or the
        arguments of a tool call, and the prompt stays as it is but for the tool. Raises TruncatedError, when called, where
        max_tokens cut the answer off.
        """
        return structured.with_structured_output(self, schema, method, include_raw, kwargs)

    def decoded_under(self, schema: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model answering in JSON under `schema`; `structured.ValueParser` makes the value of the message."""
        return structured.decoded_under(self, schema)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        shared = self._shared.get(run_manager.run_id) if run_manager else None
        if shared and run_manager:
            return shared.answer(run_manager.run_id).result()
        (answer,) = self._answers([messages], {"stop": stop, **kwargs})
        return _sound(answer).result()

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        shared = self._shared.get(run_manager.run_id) if run_manager else None
        if shared and run_manager:
            return (await shared.aanswer(run_manager.run_id)).result()
        (answer,) = await self._aanswers([messages], {"stop": stop, **kwargs})
        return _sound(answer).result()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        answer = self._streamed(messages, {"stop": stop, **kwargs})
        for piece in self.engine.stream(answer.request):
            for chunk in answer.chunks(piece):
                if run_manager:
                    run_manager.on_llm_new_token(str(chunk.message.content), chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        answer = await self._unblocked(partial(self._streamed, messages, {"stop": stop, **kwargs}), kwargs)
        async with aclosing(self.engine.astream(answer.request)) as pieces:  # type: ignore[type-var]  # it is a generator
            async for piece in pieces:
                for chunk in answer.chunks(piece):
                    if run_manager:
                        await run_manager.on_llm_new_token(str(chunk.message.content), chunk=chunk)
                    yield chunk

    def _streamed(self, messages: list[BaseMessage], given: dict[str, Any]) -> Streamed:
        n = asked.asked(self, given).settings.n
        if n > 1:
            raise UsageError(f"n={n} cannot be streamed; a stream is one answer, and generate gives several")
        return self._exchange([messages], given).stream()

    def _load(self) -> weights.Loaded:
        if self._loaded is None:
            self._loaded = weights.load(self.model, self.device, self.dtype)
        return self._loaded

    def _exchange(self, prompts: Sequence[list[BaseMessage]], given: dict[str, Any]) -> Exchange:
        wished = asked.asked(self, given)
        return exchange(self._load(), self.engine.room, self.model_name, prompts, wished)

    def _answers(self, prompts: Sequence[list[BaseMessage]], given: dict[str, Any]) -> list[Answer | Exception]:
        """Return an answer, or what is wrong with it, for each prompt, from one call of the engine."""
        try:
            made = self._exchange(prompts, given)
            requests = made.requests()
            return made.answers(self.engine.outcomes(requests) if requests else [])
        except Exception as error:  # what stops one stops all: each run ends with it
            return [error] * len(prompts)

    async def _aanswers(self, prompts: Sequence[list[BaseMessage]], given: dict[str, Any]) -> list[Answer | Exception]:
        """Return what _answers returns, awaiting; a thread is taken only for what is slow before the engine is asked."""
        try:
            made = await self._unblocked(partial(self._exchange, prompts, given), given)
            requests = made.requests()
            return made.answers(await outcomes(self.engine, requests) if requests else [])
        except Exception as error:
            return [error] * len(prompts)

    async def _unblocked(self, work: Callable[[], T], given: Mapping[str, Any]) -> T:
        """Return what `work` returns, from a thread where it may load the model or compile a schema."""
        if self._loaded is not None and self._loaded.is_running(self.max_batch) and not asked.decodes_under(given):
            return work()
        return await run_in_executor(None, work)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(
            **{
                **super()._get_ls_params(stop, **kwargs),
                "ls_provider": "chaintune",
                "ls_model_name": kwargs.get("model") or self.model_name,
            }
        )

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What an answer depends on; LangChain's cache keeps answers by it."""
        source = self.model if isinstance(self.model, str) else ""
        return {
            "model_name": self.model_name,
            "source": source,
            "changed": weights.changed(source) if source else 0,
            "dtype": self.dtype,
            **{name: getattr(self, name) for name in settings.NAMES},
        }

    @property
    def _llm_type(self) -> str:
        return "chaintune-local"


def _messages(results: list[Any], return_exceptions: bool) -> list[Any]:
    failed = (
        None if return_exceptions else next((result for result in results if isinstance(result, BaseException)), None)
    )
    if failed is not None:
        raise failed
    return results


def _sound(answer: Answer | Exception) -> Answer:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _first(answer: Answer | Exception) -> AIMessage | Exception:
    """Return the answer's first message, or what is wrong with it."""
    try:
        return _sound(answer).first()
    except Exception as error:
        return error
