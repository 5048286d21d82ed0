"""Tokens of rows by a model's own tokenizer and chat template, with `tokenizers` and jinja2 alone: no torch, no transformers."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from chains.models.templates import PLAIN_TEMPLATE
from tuning.data.findings import Row
from tuning.data.item import said
from tuning.data.parse import Problem


@dataclass(frozen=True)
class Count:
    """The tokens of one row: all, those that are learned, by role; and what is wrong with them."""

    total: int
    learned: int
    roles: dict[str, int]
    problems: list[Problem] = field(default_factory=list)


class Tokens:
    """A model's tokenizer, chat template and context length, by the model's name or folder."""

    def __init__(self, model: str, context: int | None = None) -> None:
        """Raises UsageError where the model has no tokenizer.json, or its template cannot be read."""
        from tokenizers import Tokenizer

        self.model = model
        folder = _folder(model)
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises a bare Exception
            raise UsageError(
                f"{model!r} has no tokenizer.json that can be read ({error}); name another --model"
            ) from error
        config = _json(folder / "tokenizer_config.json")
        self._marks = {name: _mark(config.get(name)) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
        self._special = {t.content for t in self._tokenizer.get_added_tokens_decoder().values() if t.special}
        self.limit = context or _json(folder / "config.json").get("max_position_embeddings")
        self._template = _template(folder, config, model)

    def text(self, text: str) -> int:
        """Return how many tokens `text` has."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def chat(self, messages: Sequence[Row], tools: Any = None, learns: bool = True) -> Count:
        """Return the tokens of a conversation; with `learns`, its last message is what is learned."""
        from jinja2 import TemplateError

        turns = [_turn(m) for m in messages]
        try:
            whole = self._render(turns, tools, prompt=not learns)
            before = self._render(turns[:-1], tools, prompt=True) if learns and len(turns) > 1 else ""
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            return Count(0, 0, {}, [("template-refuses", "messages", {"why": why})])
        codes = self._tokenizer.encode_batch_fast(
            [whole, before, *(t["content"] or "" for t in turns)], add_special_tokens=False
        )
        ids, prefix = codes[0].ids, codes[1].ids
        roles: dict[str, int] = {}
        for turn, code in zip(turns, codes[2:], strict=True):
            roles[turn["role"]] = roles.get(turn["role"], 0) + len(code.ids)
        problems = list(self._problems(turns, whole, before, ids, prefix)) if before else []
        problems += list(self._long(len(ids), len(prefix), learns))
        weights = [m.get("weight", 1) for m in messages]
        learned = sum(
            len(c.ids) for t, c, w in zip(turns, codes[2:], weights, strict=True) if t["role"] == "assistant" and w
        )
        return Count(len(ids), learned, roles, problems)

    def _render(self, turns: list[Row], tools: Any, prompt: bool) -> str:
        return str(self._template.render(messages=turns, tools=tools, add_generation_prompt=prompt, **self._marks))

    def _problems(
        self, turns: list[Row], whole: str, before: str, ids: list[int], prefix: list[int]
    ) -> Iterator[Problem]:
        if ids[: len(prefix)] != prefix:
            yield "prefix-unstable", "messages", {}
            return
        answer = turns[-1]["content"] or ""
        after = whole[len(before) :]
        tail = after[after.find(answer.strip()) + len(answer.strip()) :] if answer.strip() in after else after
        if turns[-1]["role"] == "assistant" and not any(mark in tail for mark in self._special):
            yield "eos-unlearned", "messages", {}

    def _long(self, total: int, prompt: int, learns: bool) -> Iterator[Problem]:
        if self.limit and total > self.limit:
            yield "too-long", "messages", {"tokens": total, "limit": self.limit}
            if learns and prompt >= self.limit:
                yield "tokens-unlearned", "messages", {"limit": self.limit}


def _turn(message: Row) -> Row:
    role = "system" if message["role"] == "developer" else message["role"]
    turn = {"role": role, "content": said(message)}
    for name in ("name", "tool_calls", "tool_call_id"):
        if name in message:
            turn[name] = message[name]
    return turn


def _folder(model: str) -> Path:
    from chains.models import registry

    source = model.removeprefix("hf:") if model.startswith("hf:") else None
    if source is None:
        source = model if Path(model).is_dir() else str(registry.find(model).source)
    if Path(source).is_dir():
        return Path(source)
    try:
        from huggingface_hub import hf_hub_download

        found = [Path(hf_hub_download(source, name)) for name in ("tokenizer.json", "tokenizer_config.json")]
        return found[0].parent
    except Exception as error:  # the hub's client raises network, cache and name errors of many kinds
        raise UsageError(
            f"the tokenizer of {model!r} is not on this machine and cannot be fetched; name a folder: hf:PATH"
        ) from error


def _json(path: Path) -> Row:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _mark(value: Any) -> str:
    return str(value.get("content", "")) if isinstance(value, dict) else value or ""


def _template(folder: Path, config: Row, model: str) -> Any:
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    file = folder / "chat_template.jinja"
    text = file.read_text(encoding="utf-8") if file.is_file() else config.get("chat_template")
    if isinstance(text, list):
        text = next((t.get("template") for t in text if t.get("name") == "default"), None)

    def refuse(why: str) -> None:
        raise TemplateError(why)

    place = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    place.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    place.globals.update(raise_exception=refuse, strftime_now=lambda form: "")
    try:
        return place.from_string(text or PLAIN_TEMPLATE)
    except TemplateError as error:
        raise UsageError(f"the chat template of {model!r} cannot be read ({error}); name another --model") from error
