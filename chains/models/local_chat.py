"""A local model as a langchain_core chat model: in process, batched, streamed, with the settings of each call honoured.

    LocalChat("./my-model", temperature=0).invoke("Hello")
    LocalChat(model, tokenizer).batch(["one", "two"], max_tokens=20)      # one call of the engine

The answer carries its token counts (`usage_metadata`) and, in `response_metadata`, `finish_reason` and `model_name`.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from os import PathLike, fspath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_config_list, run_in_executor
from pydantic import Field, PrivateAttr, ValidationError

from chains.errors import UsageError
from chains.models import chat_prompt, settings, together, weights
from chains.models.chat_prompt import Shown
from chains.models.settings import Settings, Stop
from chains.models.templates import PLAIN_STOP

if TYPE_CHECKING:
    from chains.models.engine import Completion, Engine, Request

Answer = tuple["Completion", int]  # what the engine made, and how many tokens the prompt had


class LocalChat(BaseChatModel):
    """A chat model that runs in this process; its weights are read when it is first used.

    `model` is a folder, a hub id, or a transformers model in memory, which needs its `tokenizer` beside it. The sampling arguments
    are those of `Settings`, and any call or `.bind` may give others.
    """

    model: Any = Field(repr=False)
    tokenizer: Any = Field(default=None, repr=False)
    model_name: str = ""
    """What answers say they come from; the folder, the hub id or the model's class, where nothing is given."""
    temperature: float = 0.7
    max_tokens: int = 256
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: Stop = ()
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

    def show(self, messages: LanguageModelInput) -> Shown:
        """Return the exact text and token ids that the model would be given."""
        return chat_prompt.show(self._load(), self._convert_input(messages).to_messages())

    def get_token_ids(self, text: str) -> list[int]:
        """Return the ids of `text` by this model's tokenizer, nothing added."""
        return chat_prompt.text_ids(self._load(), text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Return how many tokens the model would be given for `messages`."""
        if tools:
            raise settings.no_tools("tools")
        return len(chat_prompt.encode(self._load(), messages))

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
        settings.for_call(self, kwargs)
        return super().bind(**kwargs)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Raise UsageError: local models do not do tools yet."""
        raise settings.no_tools("bind_tools")

    def with_structured_output(self, schema: dict[str, Any] | type, **kwargs: Any) -> Runnable[LanguageModelInput, Any]:
        """Raise UsageError: local models do not do structured output yet."""
        raise settings.no_tools("with_structured_output")

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        shared = self._shared.get(run_manager.run_id) if run_manager else None
        if shared and run_manager:
            return self._result(shared.answer(run_manager.run_id))
        return self._result(self._alone(messages, {"stop": stop, **kwargs}))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        shared = self._shared.get(run_manager.run_id) if run_manager else None
        if shared and run_manager:
            return self._result(await shared.aanswer(run_manager.run_id))
        return self._result(await run_in_executor(None, self._alone, messages, {"stop": stop, **kwargs}))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request = self._request(messages, settings.for_call(self, {"stop": stop, **kwargs}))
        for piece in self.engine.stream(request):
            if isinstance(piece, str):
                message = AIMessageChunk(content=piece)
            else:
                message = AIMessageChunk(
                    content="", chunk_position="last", **self._facts((piece, len(request.prompt_ids)))
                )
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(str(message.content), chunk=chunk)
            yield chunk

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
            chosen = settings.for_call(self, given)
            results: list[Any] = [self._try_request(messages, chosen) for messages in prompts]
            good = [place for place, request in enumerate(results) if not isinstance(request, Exception)]
            completions = self.engine.generate([results[place] for place in good]) if good else []
        except Exception as error:  # what stops one stops all: each run ends with it
            return [error] * len(prompts)
        for place, completion in zip(good, completions, strict=True):
            results[place] = (completion, len(results[place].prompt_ids))
        return results

    def _try_request(self, messages: list[BaseMessage], chosen: Settings) -> "Request | UsageError":
        try:
            return self._request(messages, chosen)
        except UsageError as error:
            return error

    def _request(self, messages: list[BaseMessage], chosen: Settings) -> "Request":
        """Return the engine's request. Raises UsageError where the prompt is longer than the model can read."""
        loaded = self._load()
        from chains.models.engine import Request, Sampling

        ids = chat_prompt.encode(loaded, messages)
        if len(ids) >= self.engine.context:
            raise UsageError(
                f"the prompt is {len(ids)} tokens long and the model's context is {self.engine.context}; "
                "shorten the prompt, the history or the passages"
            )
        values = chosen.model_dump()
        if not loaded.tokenizer.chat_template:
            values["stop"] += PLAIN_STOP
        return Request(tuple(ids), Sampling(**values))

    def _result(self, answer: Answer) -> ChatResult:
        message = AIMessage(content=answer[0].text, **self._facts(answer))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _facts(self, answer: Answer) -> dict[str, Any]:
        """Return a message's token counts, and why and by whom it ended."""
        completion, read = answer
        written = len(completion.token_ids)
        return {
            "usage_metadata": UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written),
            "response_metadata": {"finish_reason": completion.finish_reason, "model_name": self.model_name},
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(
            **{**super()._get_ls_params(stop, **kwargs), "ls_provider": "chaintune", "ls_model_name": self.model_name}
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
