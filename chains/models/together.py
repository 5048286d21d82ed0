"""A whole `.batch` as one call of the engine, each prompt with the callbacks, tags, cache and run id of its own config.

For batches that someone listens to, or whose model has a cache; the others need none of this (chains/quiet.py). LangChain's own `.batch` is
a pool of threads that each call the model with one prompt. Here every prompt's run is begun first, then the engine takes all prompts at
once, then each run ends with its own answer or its own error. langchain_core has no public name for that order: the private ones are here.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

from langchain_core.callbacks import CallbackManager, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig

Work = Callable[[list[list[BaseMessage]]], Any]
"""What makes the answers, a list of them; for `abatch` an async function that does."""


class Together:
    """The prompts of one batch: `work` runs on all of them when the first answer is asked for.

    `work` returns an answer or an exception for each prompt; an exception is raised to the one who asks for that answer.
    """

    def __init__(self, work: Work, prompts: Mapping[UUID, list[BaseMessage]]) -> None:
        self._work = work
        self._prompts = prompts
        self._answers: dict[UUID, Any] | None = None
        self._task: asyncio.Future[None] | None = None

    def answer(self, run: UUID) -> Any:
        """Return the answer to the prompt of `run`."""
        if self._answers is None:
            self._keep(self._work(list(self._prompts.values())))
        return self._answer(run)

    async def aanswer(self, run: UUID) -> Any:
        """Return the answer to the prompt of `run`, where `work` is awaited."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._await())
        await asyncio.shield(self._task)  # one caller who leaves does not take the others' work away
        return self._answer(run)

    async def _await(self) -> None:
        self._keep(await self._work(list(self._prompts.values())))

    def _keep(self, answers: list[Any]) -> None:
        self._answers = dict(zip(self._prompts, answers, strict=True))

    def _answer(self, run: UUID) -> Any:
        answer = (self._answers or {})[run]
        if isinstance(answer, Exception):
            raise answer
        return answer


Shared = dict[UUID, Together]
"""The batches in progress, by the run id of each of their prompts."""


def batch(
    llm: BaseChatModel,
    shared: Shared,
    work: Work,
    inputs: Sequence[Any],
    configs: Sequence[RunnableConfig],
    kwargs: Mapping[str, Any],
) -> list[Any]:
    """Return the model's message, or an exception, for each input."""
    results: list[Any] = [as_messages(llm, value) for value in inputs]
    opened: dict[int, CallbackManagerForLLMRun] = {}
    for place, messages in enumerate(results):
        if not isinstance(messages, Exception):
            opened[place] = _begin(llm, messages, configs[place], len(inputs), kwargs)
    waiting = dict(opened)
    try:
        with _sharing(shared, work, {run.run_id: results[place] for place, run in opened.items()}):
            for place, run in opened.items():
                results[place] = _one(llm, run, results[place], kwargs)
                del waiting[place]
    except BaseException as error:  # an interrupt: the runs that are still open end with it
        for run in waiting.values():
            run.on_llm_error(error, response=LLMResult(generations=[]))
        raise
    return results


async def abatch(
    llm: BaseChatModel,
    shared: Shared,
    work: Work,
    inputs: Sequence[Any],
    configs: Sequence[RunnableConfig],
    kwargs: Mapping[str, Any],
) -> list[Any]:
    """Return the model's message, or an exception, for each input, awaiting."""
    runs = [config.get("run_id") or uuid4() for config in configs]
    prompts = [as_messages(llm, value) for value in inputs]
    with _sharing(shared, work, {run: p for run, p in zip(runs, prompts, strict=True) if not isinstance(p, Exception)}):
        calls = [
            llm.ainvoke(value, {**config, "run_id": run}, **kwargs)
            for value, config, run in zip(inputs, configs, runs, strict=True)
        ]
        return await asyncio.gather(*calls, return_exceptions=True)


@contextmanager
def _sharing(shared: Shared, work: Work, prompts: Mapping[UUID, list[BaseMessage]]) -> Iterator[None]:
    together = Together(work, prompts)
    shared.update(dict.fromkeys(prompts, together))
    try:
        yield
    finally:
        for run in prompts:
            del shared[run]


def as_messages(llm: BaseChatModel, value: Any) -> Any:
    """Return the input as messages, or the exception that says what is wrong with it."""
    try:
        return llm._convert_input(value).to_messages()
    except Exception as error:
        return error


def _begin(
    llm: BaseChatModel, messages: list[BaseMessage], config: RunnableConfig, size: int, kwargs: Mapping[str, Any]
) -> CallbackManagerForLLMRun:
    """Begin a prompt's run as BaseChatModel.generate does."""
    manager = CallbackManager.configure(
        config.get("callbacks"),
        llm.callbacks,
        llm.verbose,
        config.get("tags"),
        llm.tags,
        {**config.get("metadata", {}), **llm._get_ls_params(**kwargs)},
        llm.metadata,
    )
    (run,) = manager.on_chat_model_start(
        llm._serialized,
        [messages],
        invocation_params=llm._get_invocation_params(**kwargs),
        options={"stop": kwargs.get("stop")},
        name=config.get("run_name"),
        run_id=config.get("run_id"),
        batch_size=size,
    )
    return run


def _one(
    llm: BaseChatModel, run: CallbackManagerForLLMRun, messages: list[BaseMessage], kwargs: Mapping[str, Any]
) -> Any:
    """Return the message for one begun run, or its error, and end the run."""
    try:
        result = llm._generate_with_cache(messages, run_manager=run, **kwargs)
    except Exception as error:
        run.on_llm_error(error, response=LLMResult(generations=[]))
        return error
    run.on_llm_end(LLMResult(generations=[list(result.generations)], llm_output=result.llm_output))
    return result.generations[0].message
