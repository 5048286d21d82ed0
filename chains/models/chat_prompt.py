"""A conversation as the exact tokens that a model reads.

The ids are the chat template's own: one beginning-of-text token, and nothing that a user or a passage wrote can become a control token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from chains.errors import UsageError
from chains.models.settings import no_tools
from chains.models.templates import PLAIN_TEMPLATE
from chains.models.weights import Loaded

_ROLES = {"system": "system", "human": "user", "user": "user", "ai": "assistant", "assistant": "assistant"}


@dataclass(frozen=True)
class Shown:
    """The prompt as the model gets it."""

    text: str
    token_ids: list[int]

    def __str__(self) -> str:
        return self.text


def chat_rows(messages: Sequence[BaseMessage]) -> list[dict[str, str]]:
    """Return `{"role", "content"}` for each message. Raises UsageError for a role, a tool call or a picture that is not text."""
    if not messages:
        raise UsageError("the conversation is empty; give at least one message")
    return [_row(message) for message in messages]


def _row(message: BaseMessage) -> dict[str, str]:
    if message.type in ("tool", "function") or (isinstance(message, AIMessage) and message.tool_calls):
        raise no_tools(f"a message with a tool's {'call' if isinstance(message, AIMessage) else 'result'}")
    said = getattr(message, "role", message.type)
    if said not in _ROLES:
        raise UsageError(f"the role {said!r} is unknown; use 'system', 'user' or 'assistant'")
    return {"role": _ROLES[said], "content": _text(message)}


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    for block in message.content:
        if not isinstance(block, str) and block.get("type") != "text":
            raise UsageError(f"a message holds {block.get('type')!r} content, and local models here read text alone")
    return "".join(block if isinstance(block, str) else str(block["text"]) for block in message.content)


def encode(loaded: Loaded, messages: Sequence[BaseMessage]) -> list[int]:
    """Return the prompt's token ids. A last message of the assistant's is left open, for the model to go on with."""
    with loaded.encoding:
        ids = _apply(loaded.tokenizer, messages, tokenize=True, return_dict=False, sanitize_control_tokens=True)
    return [int(i) for i in ids]


def show(loaded: Loaded, messages: Sequence[BaseMessage]) -> Shown:
    """Return the prompt's exact text and token ids."""
    return Shown(_apply(loaded.tokenizer, messages, tokenize=False), encode(loaded, messages))


def text_ids(loaded: Loaded, text: str) -> list[int]:
    """Return the ids of a text alone, nothing added."""
    with loaded.encoding:
        return list(loaded.tokenizer.encode(text, add_special_tokens=False))


def _apply(tokenizer: Any, messages: Sequence[BaseMessage], **how: Any) -> Any:
    rows = chat_rows(messages)
    prefill = rows[-1]["role"] == "assistant"
    template = None if tokenizer.chat_template else PLAIN_TEMPLATE
    try:
        return tokenizer.apply_chat_template(
            rows, chat_template=template, add_generation_prompt=not prefill, continue_final_message=prefill, **how
        )
    except Exception as error:  # a template may raise anything: jinja's errors, its own refusal of a role, a ValueError
        raise UsageError(f"the model's chat template refuses this conversation: {error}") from error
