"""A local model as a langchain_core chat model: in process, batched, streamed, with the settings of each call honoured.

    LocalChat("./my-model", temperature=0).invoke("Hello")
    LocalChat(model, tokenizer).batch(["one", "two"], max_tokens=20)      # one call of the engine
    llm.bind_tools([add], tool_choice="required").invoke("2 + 3?").tool_calls
    llm.with_structured_output(Person).invoke("Ana is 31.")               # a Person, decoded under its schema

The answer carries its token counts (`usage_metadata`) and, in `response_metadata`, `finish_reason`, `model_name` and, where asked
for, `logprobs` in OpenAI's shape.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from os import PathLike, fspath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_config_list, run_in_executor
from pydantic import Field, PrivateAttr, ValidationError

from chains.errors import UsageError
from chains.models import asked, chat_prompt, settings, structured, together, weights
from chains.models.answer import Answer, Prepared
from chains.models.asked import Asked
from chains.models.bound import BoundChat
from chains.models.chat_prompt import Shown
from chains.models.reply import Reader, StreamReader
from chains.models.templates import PLAIN_STOP
from chains.models.tools import definitions

if TYPE_CHECKING:
    from chains.models.engine import Completion, Engine, Request

Prompt = tuple[
    Reader, list["Request"]
]  # how the answers are read, and what the engine is asked: a request for each of n


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
    """`cpu`, `cuda` or `cuda:1`; None takes the first GPU where there is one."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"

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
        if self.device is not None or self.dtype != "float32":
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

    def show(self, messages: LanguageModelInput, **given: Any) -> Shown:
        """Return the exact text and token ids that the model would be given by a call with these messages and arguments."""
        return chat_prompt.show(
            self._load(), self._convert_input(messages).to_messages(), asked.asked(self, given).tools
        )

    def prepare(self, messages: LanguageModelInput, **given: Any) -> Prepared:
        """Return what a call with these messages and arguments asks of the engine, for whoever waits for it in a way of his own."""
        wished = asked.asked(self, given)
        constraint = self._constraint(wished)
        if constraint is not None:
            self.engine.prepare(constraint)
        reader, requests = self._prompt(self._convert_input(messages).to_messages(), wished, constraint)
        return Prepared(wished, reader, requests, self.model_name)

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
        configs = get_config_list(config, len(inputs))
        results = together.batch(self, self._shared, partial(self._answers, given=kwargs), inputs, configs, kwargs)
        return _messages(results, return_exceptions)

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Return the model's message for each input, awaiting; the engine takes all inputs at once."""
        configs = get_config_list(config, len(inputs))
        results = await together.abatch(
            self, self._shared, partial(self._answers, given=kwargs), inputs, configs, kwargs
        )
        return _messages(results, return_exceptions)

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
        return self._alone(messages, {"stop": stop, **kwargs}).result()

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
        return (await run_in_executor(None, self._alone, messages, {"stop": stop, **kwargs})).result()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        wished = asked.asked(self, {"stop": stop, **kwargs})
        if wished.settings.n > 1:
            raise UsageError(
                f"n={wished.settings.n} cannot be streamed; a stream is one answer, and generate gives several"
            )
        for message in self._pieces(messages, wished):
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(str(message.content), chunk=chunk)
            yield chunk

    def _pieces(self, messages: list[BaseMessage], wished: Asked) -> Iterator[AIMessageChunk]:
        reader, (request,) = self._prompt(messages, wished, self._constraint(wished))
        stream = StreamReader(reader)
        for piece in self.engine.stream(request):
            if isinstance(piece, str):
                yield from stream.add(piece)
            else:
                yield from stream.finish()
                answer, said = self._answer(reader, [request], [piece], wished), reader.read(piece.text)
                answer.check_whole(piece, said)
                yield AIMessageChunk(content="", chunk_position="last", **answer.facts(piece, said))

    def _load(self) -> weights.Loaded:
        if self._loaded is None:
            self._loaded = weights.load(self.model, self.device, self.dtype)
        return self._loaded

    def _alone(self, messages: list[BaseMessage], given: dict[str, Any]) -> Answer:
        (answer,) = self._answers([messages], given)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answers(self, prompts: list[list[BaseMessage]], given: dict[str, Any]) -> list[Answer | Exception]:
        """Return an answer, or what is wrong with it, for each prompt, from one call of the engine."""
        try:
            wished = asked.asked(self, given)
            constraint = self._constraint(wished)
            made = [self._try_prompt(messages, wished, constraint) for messages in prompts]
            requests = [request for each in made if not isinstance(each, UsageError) for request in each[1]]
            completions = iter(self.engine.generate(requests) if requests else [])
        except Exception as error:  # what stops one stops all: each run ends with it
            return [error] * len(prompts)
        return [
            each
            if isinstance(each, UsageError)
            else self._answer(*each, list(islice(completions, len(each[1]))), wished)
            for each in made
        ]

    def _answer(
        self, reader: Reader, requests: Sequence["Request"], completions: Sequence["Completion"], wished: Asked
    ) -> Answer:
        return Answer(completions, len(requests[0].prompt_ids), wished, reader, self.model_name)

    def _constraint(self, wished: Asked) -> Any:
        tokenizer = self._load().tokenizer
        return asked.constraint_of(wished, chat_prompt.form_of(tokenizer), tokenizer)

    def _try_prompt(self, messages: list[BaseMessage], wished: Asked, constraint: Any) -> Prompt | UsageError:
        try:
            return self._prompt(messages, wished, constraint)
        except UsageError as error:
            return error

    def _prompt(self, messages: list[BaseMessage], wished: Asked, constraint: Any) -> Prompt:
        """Return the engine's requests and their reader. Raises UsageError where the prompt is longer than the model can read."""
        loaded = self._load()
        from chains.models.engine import Request, Sampling

        ids = chat_prompt.encode(loaded, messages, wished.tools)
        if len(ids) >= self.engine.context:
            raise UsageError(
                f"the prompt is {len(ids)} tokens long and the model's context is {self.engine.context}; "
                "shorten the prompt, the history or the passages"
            )
        values = wished.settings.model_dump(include=set(settings.SAMPLING))
        if not loaded.tokenizer.chat_template:
            values["stop"] += PLAIN_STOP
        reader = Reader(chat_prompt.form_of(loaded.tokenizer), wished.tools, loaded.tokenizer, ids)
        seeds = _seeds(wished.settings.seed, wished.settings.n)
        return reader, [
            Request(tuple(ids), Sampling(**{**values, "seed": seed}), constraint, loaded.adapter) for seed in seeds
        ]

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


def _seeds(seed: int | None, n: int) -> list[int | None]:
    return [None if seed is None else (seed + place) % 2**63 for place in range(n)]
