"""Where nobody listens: whether that is so, and the shorter ways in that chains and models then have.

langchain_core asks for callbacks, tracers and a cache at every call, which costs more than a short chain's own work. A chain asks
once, and where the answer is nobody, its steps are entered without asking again:
- a chain by `unheard` and `aunheard`;
- a chat model that has `replies(prompts, given)` (and `areplies`) by that: it is given lists of messages whose contents are text and
  the call's settings, and returns for each an AIMessage or the exception; a stream is read from its `_stream`.
Everything else, and a model with callbacks, a cache or a rate limit of its own, is called as langchain_core does. The results, the
errors and the recorded runs are the same either way.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from langchain_core.callbacks import CallbackManager
from langchain_core.globals import get_debug, get_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import (
    ensure_config,
    get_callback_manager_for_config,
    get_config_list,
    var_child_runnable_config,
)
from langchain_core.tracers.context import _configure_hooks, _tracing_v2_is_enabled

from chains.models.settings import NAMES
from chains.runs.ids import new_id

_NAMES = frozenset(NAMES)
_ENTRANCES = ("invoke", "generate_prompt", "generate", "_generate_with_cache", "_generate", "stream", "_stream")


def nobody_listens() -> bool:
    """Say whether a call without a config would be heard by nobody, and belongs to no run of langchain_core's.

    What CallbackManager.configure looks at, one by one, without making a manager; where a sign is seen, configure itself decides.
    """
    if var_child_runnable_config.get() is not None:
        return False
    signs = get_debug() or bool(_tracing_v2_is_enabled()) or _old_tracing()
    for hook in _configure_hooks:
        signs = signs or hook[3] is not None or hook[0].get() is not None
    return not signs or not CallbackManager.configure().handlers


@cache
def _old_tracing() -> bool:
    """Say whether this process was started with the settings that langchain_core refuses to run with."""
    return any(map(os.environ.get, ("LANGCHAIN_TRACING", "LANGCHAIN_HANDLER")))


def heard(config: RunnableConfig | list[RunnableConfig] | None, number: int) -> tuple[list[RunnableConfig], bool]:
    """Return a whole config for each of `number` calls, and whether anyone hears them."""
    if config is None and nobody_listens():
        return [ensure_config() for _ in range(number)], False
    configs = get_config_list(config, number)
    return configs, any(get_callback_manager_for_config(each).handlers for each in configs)


def batch(
    runnable: Any, inputs: list[Any], configs: list[RunnableConfig], kwargs: Mapping[str, Any]
) -> list[Any] | None:
    """Return the results, exceptions among them, by the shorter way; None where there is none."""
    if hasattr(type(runnable), "unheard"):
        return list(runnable.unheard(inputs, configs, kwargs))
    prompts = _prompts(runnable, inputs, kwargs)
    return None if prompts is None else signed(runnable.replies(prompts, kwargs))


async def abatch(
    runnable: Any, inputs: list[Any], configs: list[RunnableConfig], kwargs: Mapping[str, Any]
) -> list[Any] | None:
    """Return what batch returns, awaiting."""
    if hasattr(type(runnable), "aunheard"):
        return list(await runnable.aunheard(inputs, configs, kwargs))
    prompts = _prompts(runnable, inputs, kwargs) if hasattr(type(runnable), "areplies") else None
    return None if prompts is None else signed(await runnable.areplies(prompts, kwargs))


def stream(runnable: Any, input: Any, config: RunnableConfig, kwargs: Mapping[str, Any]) -> Iterator[Any] | None:
    """Return the pieces of a model's answer by the shorter way; None where there is none."""
    prompts = _prompts(runnable, [input], kwargs)
    if prompts is None or runnable.disable_streaming:
        return None
    return _pieces(runnable, prompts[0], kwargs)


def signed(replies: list[Any]) -> list[Any]:
    """Return the replies with an id each, in the form that langchain_core gives: a parser may look at it."""
    for reply in replies:
        if isinstance(reply, BaseMessage) and reply.id is None:
            reply.id = _reply_id()
    return replies


def _reply_id() -> str:
    return f"lc_run--{new_id()}{new_id()}"


def _pieces(model: Any, messages: list[BaseMessage], kwargs: Mapping[str, Any]) -> Iterator[BaseMessage]:
    name = _reply_id()
    for chunk in model._stream(messages, **kwargs):
        chunk.message.id = name
        yield chunk.message


def _prompts(model: Any, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> list[list[BaseMessage]] | None:
    """Return the inputs as messages where `model` may be asked the shorter way."""
    if not has_replies(model, kwargs):
        return None
    prompts = [value.to_messages() if isinstance(value, PromptValue) else [] for value in inputs]
    return prompts if all(map(_plain, prompts)) else None


def has_replies(model: Any, kwargs: Mapping[str, Any]) -> bool:
    """Say whether `model` may be asked the shorter way, with these settings."""
    return has_own_way(model) and (not kwargs or kwargs.keys() <= _NAMES)


def has_own_way(model: Any) -> bool:
    """Say whether `model` has replies, and nothing that langchain_core does around a call (a cache, callbacks of its own) is asked for."""
    return _has_own_entrance(type(model)) and _silent(model)  # type: ignore[arg-type]  # mypy: a class is not seen as Hashable


def reply(model: Any, messages: list[BaseMessage], kwargs: Mapping[str, Any]) -> Any:
    """Return the answer of a model that has replies, which has no id. Raises what it failed with."""
    if not _plain(messages):
        return model.invoke(messages, **kwargs)
    (made,) = model.replies([messages], kwargs)
    if isinstance(made, Exception):
        raise made
    return made


def _plain(messages: list[BaseMessage]) -> bool:
    return bool(messages) and all(isinstance(said.content, str) for said in messages)


@cache
def _has_own_entrance(kind: type) -> bool:
    """Say whether this class of models has `replies`, and no subclass changed what that stands for."""
    if not issubclass(kind, BaseChatModel):
        return False
    order = kind.__mro__
    owner = next((place for place, base in enumerate(order) if "replies" in vars(base)), None)
    return owner is not None and not any(name in vars(base) for base in order[:owner] for name in _ENTRANCES)


def _silent(model: BaseChatModel) -> bool:
    cached = model.cache not in (None, False) or (model.cache is None and get_llm_cache() is not None)
    return not (cached or model.callbacks or model.verbose or model.rate_limiter or model.output_version)
