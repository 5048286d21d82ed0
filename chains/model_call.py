"""What is written down of a model call: the prompt as chat rows, the answer's text, which model it was and how it sampled."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.runnables.base import RunnableBindingBase

from chains.runs.record import OpenRun

_ROLES = {"system": "system", "human": "user", "ai": "assistant"}
_MESSAGE = (AIMessage, AIMessageChunk, BaseMessage)  # the usual ones by name: pydantic looks long at what is a subclass
_SAMPLING = ("temperature", "top_p", "top_k", "max_tokens", "seed", "stop")


def chat_rows(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return messages as `{"role", "content"}` dicts, in OpenAI's form."""
    return [_row(message) for message in messages]


def _row(message: BaseMessage) -> dict[str, Any]:
    role, said = _ROLES.get(message.type), message.content
    if role is None or not isinstance(said, str) or (role == "assistant" and getattr(message, "tool_calls", None)):
        return convert_to_openai_messages(message)
    return {"role": role, "content": said}


def text_of(reply: Any) -> Any:
    """Return a message's text; anything else as it is."""
    if not isinstance(reply, _MESSAGE):
        return reply
    return reply.content if isinstance(reply.content, str) else str(reply.text)


def note_reply(run: OpenRun, llm: Any, kwargs: Mapping[str, Any], reply: Any) -> None:
    """Write the model's answer, name, sampling and tokens into `run`."""
    model, settings = (llm, vars(llm)) if _is_plain(llm, kwargs) else _unwrapped(llm, kwargs)
    run.sampling = {key: value for key in _SAMPLING if (value := settings.get(key)) is not None and value != ()}
    name = None
    if isinstance(reply, _MESSAGE):
        name = reply.response_metadata.get("model_name")
        if usage := getattr(reply, "usage_metadata", None):
            run.used(usage)
    run.model = name if name and isinstance(name, str) else _name(model, settings)
    said = text_of(reply)
    run.answer = said if isinstance(said, str) else None


def _name(model: Any, settings: Mapping[str, Any]) -> str:
    """Return what a model is called by its own settings, or its class' name."""
    names = (settings.get("model_name"), settings.get("model"))
    return next((name for name in names if name and isinstance(name, str)), type(model).__name__)


def fits(llm: Any, messages: list[BaseMessage], kwargs: Mapping[str, Any]) -> bool:
    """Say whether `messages` leave room for an answer (max_tokens, or a quarter of the context where that is less).

    Only a model that runs here, whose context and tokens can be seen, is asked; any other is taken to have room.
    """
    model, settings = _unwrapped(llm, kwargs)
    context = getattr(getattr(model, "engine", None), "context", None)
    if context is None:
        return True
    return model.get_num_tokens_from_messages(messages) + min(settings["max_tokens"], context // 4) <= context


def _is_plain(llm: Any, kwargs: Mapping[str, Any]) -> bool:
    return not kwargs and not isinstance(llm, RunnableBindingBase)


def inner_model(llm: Any) -> Any:
    """Return the model inside `llm.bind(…)` and the like."""
    return _unwrapped(llm, {})[0]


def _unwrapped(llm: Any, kwargs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the model inside `llm.bind(…)` and the like, and its settings: its own, under the bound, under the call's."""
    given = dict(kwargs)
    while isinstance(llm, RunnableBindingBase):
        given = {**llm.kwargs, **given}
        llm = llm.bound
    return llm, {**vars(llm), **given}
