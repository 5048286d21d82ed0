"""How long a text is to a model, and a text cut into parts that are short enough.

A local model counts with its own tokenizer. Of a model on a server neither tokenizer nor context is known here: a token is then taken
to be three bytes of UTF-8 (one Hangul syllable; English has about four and a half), and the context 4096.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.runnables.base import RunnableBindingBase

from chains.sentences import sentences

Count = Callable[[str], int]
_PARAGRAPHS = re.compile(r"\n\s*\n")
_BYTES = 3
_SERVED_CONTEXT = 4096


def inner(llm: Any) -> Any:
    """Return the model inside `llm.bind(…)` and the like."""
    while isinstance(llm, RunnableBindingBase):
        llm = llm.bound
    return llm


def context_of(llm: Any) -> int:
    """Return how many tokens the model reads and writes at most, where it can be seen; else 4096."""
    return getattr(getattr(inner(llm), "engine", None), "context", None) or _SERVED_CONTEXT


def counting(llm: Any) -> Count:
    """Return what counts a text's tokens as `llm` does, or as near as can be told."""
    model = inner(llm)
    if getattr(getattr(model, "engine", None), "context", None):
        return model.get_num_tokens
    return lambda text: -(-len(text.encode()) // _BYTES)


def parts(text: str, most: int, count: Count) -> list[str]:
    """Return `text` in parts of at most `most` tokens each: whole paragraphs where they fit, else sentences, else as many characters as do.

    Together the parts hold every word in its order; white space between them is not kept.
    """
    return list(packed(_pieces(text, most, count), most, count))


def packed(pieces: Iterator[str], most: int, count: Count, joint: str = "\n\n") -> Iterator[str]:
    """Yield neighbouring pieces joined, as many as have room together."""
    held = ""
    for piece in pieces:
        both = f"{held}{joint}{piece}" if held else piece
        if held and count(both) > most:
            yield held
            both = piece
        held = both
    if held:
        yield held


def _pieces(text: str, most: int, count: Count) -> Iterator[str]:
    for paragraph in filter(None, (found.strip() for found in _PARAGRAPHS.split(text))):
        if count(paragraph) <= most:
            yield paragraph
        else:
            yield from packed(_lines(paragraph, most, count), most, count, joint=" ")


def _lines(paragraph: str, most: int, count: Count) -> Iterator[str]:
    """Yield the paragraph's sentences, with what stands before each; of one that is too long, as much as fits at a time."""
    done = 0
    for _, end in [*sentences(paragraph), (0, len(paragraph))]:
        yield from _cut(paragraph[done:end].strip(), most, count)
        done = max(done, end)


def _cut(text: str, most: int, count: Count) -> Iterator[str]:
    while text:
        size = max(1, bisect_right(range(1, len(text) + 1), most, key=lambda size: count(text[:size])))
        if size < len(text) and (space := text.rfind(" ", 1, size + 1)) > 0:
            size = space
        yield text[:size].rstrip()
        text = text[size:].lstrip()
