"""A tokenizer that leaves the marks of tool calls in decoded text.

Mistral's `[TOOL_CALLS]`, Llama's `<|python_tag|>` and the like are special tokens, and the text of an answer leaves special tokens
out: the calls would look like text.
"""

import copy
import json
from collections.abc import Sequence
from typing import Any

from chains.models.chat_prompt import form_of


def special(tokenizer: Any) -> dict[str, int]:
    """Return the special tokens, by text, that mean something in this model's answers."""
    own = json.dumps(getattr(tokenizer, "response_template", None), ensure_ascii=False)
    marks = form_of(tokenizer).marks
    ends = {tokenizer.eos_token, tokenizer.bos_token, tokenizer.pad_token}
    found = {token.content: place for place, token in tokenizer.added_tokens_decoder.items() if token.special}
    return {text: place for text, place in found.items() if text not in ends and (text in marks or text in own)}


def single(tokenizer: Any) -> dict[str, int]:
    """Return the ids of the form's marks that are tokens of their own, special or not."""
    added = {token.content: place for place, token in tokenizer.added_tokens_decoder.items()}
    return {mark: added[mark] for mark in form_of(tokenizer).marks if mark in added}


def kept(tokenizer: Any) -> Any:
    """Return `tokenizer`, or where it has such marks one that is the same but for `decode`, which keeps them."""
    marks = special(tokenizer)
    if not marks:
        return tokenizer
    hidden = frozenset(tokenizer.all_special_ids) - frozenset(marks.values())

    def decode(self: Any, token_ids: Sequence[int], skip_special_tokens: bool = False, **how: Any) -> str:
        ids = [int(i) for i in token_ids if not (skip_special_tokens and int(i) in hidden)]
        text: str = type(tokenizer).decode(tokenizer, ids, skip_special_tokens=False, **how)
        return text

    clone = copy.copy(tokenizer)
    clone.__class__ = type(type(tokenizer).__name__, (type(tokenizer),), {"decode": decode})
    return clone
