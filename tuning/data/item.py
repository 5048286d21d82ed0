"""A row of training data, whatever format it came in: messages, and the answers to them that are ranked, labelled or graded.

Kinds: `chat` ends with what is learned; `prompt` waits for an answer; `ranked` holds several answers with ranks; `labelled` one answer that is
good or bad; `steps` an answer in graded steps; `text` is running text.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tuning.data.findings import Row
from tuning.data.parse import Problem

KINDS = ("chat", "prompt", "ranked", "labelled", "steps", "text")


@dataclass(slots=True)
class Output:
    """One answer: its messages, and its rank (1 the best), label or further keys; `place` is where it stands in the row."""

    messages: list[Row]
    place: str = ""
    rank: int | None = None
    label: bool | None = None
    extra: Row = field(default_factory=dict)


@dataclass(slots=True)
class Item:
    """One row; `places` says for each message where in the row it stands."""

    kind: str
    messages: list[Row] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    tools: list[Any] | None = None
    parallel: bool | None = None
    text: str = ""
    extra: Row = field(default_factory=dict)

    def conversation(self, output: Output | None = None) -> list[Row]:
        """Return the messages with those of an answer after them."""
        return [*self.messages, *(output.messages if output else [])]


class Losses(Counter[str]):
    """What a conversion cannot carry, by a word of LOSSES, with how often."""


class Misfit(Exception):
    """A row is not what its format says; `problems` name what is wrong."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems)
        self.problems = list(problems)


LOSSES = {
    "en": {
        "weight": "weights of messages are left out",
        "name": "names of speakers are left out",
        "tools": "tools and their calls are left out",
        "tools-text": "tool calls are written as text",
        "parallel": "parallel_tool_calls is left out",
        "ids": "ids of tool calls are made anew",
        "parts": "images and other parts that are no text are left out",
        "extra": "other keys are left out",
        "answers": "of several answers only the best is kept",
        "answer": "answers are left out: only prompts are kept",
        "pairs": "a ranking becomes a pair for each two answers of different rank",
        "ranks": "ranks become pairs, and by how much they differ is left out",
        "scores": "scores and other keys of answers are left out",
        "label": "labels are left out: only good answers are kept",
        "steps": "the steps of an answer are joined, their labels left out",
        "transcript": "turns are written as one text with the speakers' names",
        "developer": "developer messages become system messages",
        "system": "system messages are written into the first question",
        "input": "instruction and input become one message",
        "merged": "messages of the same speaker are joined",
        "cells": "numbers, nulls and nested values become text in a table's cells",
        "paragraphs": "texts with empty lines become several paragraphs",
        "form": "values are spelled in another way",
    },
    "ko": {
        "weight": "메시지의 가중치가 빠집니다",
        "name": "말하는 이의 이름이 빠집니다",
        "tools": "도구와 도구 호출이 빠집니다",
        "tools-text": "도구 호출을 글로 씁니다",
        "parallel": "parallel_tool_calls가 빠집니다",
        "ids": "도구 호출의 id를 새로 붙입니다",
        "parts": "그림처럼 글이 아닌 조각이 빠집니다",
        "extra": "다른 키가 빠집니다",
        "answers": "여러 답 가운데 가장 좋은 것만 남습니다",
        "answer": "답이 빠지고 프롬프트만 남습니다",
        "pairs": "순위가 다른 두 답마다 쌍이 하나씩 생깁니다",
        "ranks": "순위가 쌍이 되어 순위 차이가 빠집니다",
        "scores": "답의 점수와 다른 키가 빠집니다",
        "label": "라벨이 빠지고 좋은 답만 남습니다",
        "steps": "답의 단계를 이어 붙이고 라벨이 빠집니다",
        "transcript": "차례를 말하는 이의 이름과 함께 한 글로 씁니다",
        "developer": "developer 메시지가 system 메시지가 됩니다",
        "system": "system 메시지를 첫 질문에 붙입니다",
        "input": "instruction과 input이 한 메시지가 됩니다",
        "merged": "같은 사람의 메시지를 이어 붙입니다",
        "cells": "표의 칸에서는 숫자, 빈 값, 중첩된 값이 글이 됩니다",
        "paragraphs": "빈 줄이 있는 글은 여러 문단이 됩니다",
        "form": "값을 다르게 적습니다",
    },
}


def missing(field: str, expected: str) -> Misfit:
    """Return the misfit of a field that is not there."""
    return Misfit(("field-missing", field, {"expected": expected}))


def wrong(field: str, value: object, expected: str) -> Misfit:
    """Return the misfit of a field of another type."""
    names = {
        dict: "object",
        list: "list",
        str: "text",
        bool: "truth value",
        int: "number",
        float: "number",
        type(None): "null",
    }
    return Misfit(("field-type", field, {"found": names.get(type(value), type(value).__name__), "expected": expected}))


def text_of(row: Row, key: str, default: str | None = None) -> str:
    """Return the text `row[key]`. Raises Misfit where it is missing (unless there is a default) or no text."""
    if key not in row and default is not None:
        return default
    if key not in row:
        raise missing(key, f'"{key}": "…"')
    if not isinstance(row[key], str):
        raise wrong(key, row[key], "text")
    return row[key]


def messages_of(row: Row, key: str, prefix: str = "") -> list[Row]:
    """Return the list of objects `row[key]`. Raises Misfit where it is none."""
    found = row.get(key)
    if not isinstance(found, list) or not found:
        raise Misfit(("messages-missing", prefix + key, {}))
    bad = [place for place, message in enumerate(found) if not isinstance(message, dict)]
    if bad:
        raise Misfit(*[("message-type", f"{prefix}{key}[{place}]", {}) for place in bad])
    return found


def places_of(field: str, count: int) -> list[str]:
    """Return `field[0]`, `field[1]` … for `count` messages."""
    return [f"{field}[{place}]" for place in range(count)]


def is_texts(value: object) -> bool:
    """True for a list of objects that have a role."""
    return isinstance(value, list) and bool(value) and all(isinstance(m, dict) and "role" in m for m in value)


def said(message: Row) -> str:
    """Return the text of a message, its text parts joined."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(p.get("text", "")) for p in content if isinstance(p, dict) and p.get("type") == "text")
    return content if isinstance(content, str) else ""
