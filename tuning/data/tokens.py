"""Tokens of rows by a model's own tokenizer and chat template, with `tokenizers` and jinja2 alone: no torch, no transformers."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from chains.models.templates import PLAIN_TEMPLATE
from tuning.data.findings import Row
from tuning.data.item import said
from tuning.data.parse import Problem

LENGTHS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
"""What architectures call the most tokens that they see."""


ALONE = 16
"""A message shorter than this is counted by itself: so few characters may stand in the template's own words too."""


@dataclass(frozen=True)
class Asking:
    """A conversation to count; with `learns`, its last message is what is learned."""

    messages: Sequence[Row]
    tools: Any = None
    learns: bool = True


@dataclass(frozen=True)
class _Rendered:
    """A conversation as the template writes it: whole, and what stands before the answer."""

    turns: list[Row]
    whole: str
    before: str


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
        added = [t for t in self._tokenizer.get_added_tokens_decoder().values() if t.special]
        self._special = {t.content for t in added}
        self._cuts = _cuts(added)
        sizes = _json(folder / "config.json")
        self.limit = context or next((sizes[name] for name in LENGTHS if isinstance(sizes.get(name), int)), None)
        self._template = _template(folder, config, model)

    def text(self, text: str) -> int:
        """Return how many tokens `text` has."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def chats(self, asked: Sequence[Asking]) -> list[Count]:
        """Return the tokens of each conversation; many at once are quicker, for the tokenizer takes each text once and uses every core."""
        rendered = [self._rendered(one) for one in asked]
        whole = iter(self._encode([one.whole for one in rendered if isinstance(one, _Rendered)]))
        starts = [max(0, self._cut(one.before)) if isinstance(one, _Rendered) else 0 for one in rendered]
        tails = iter(
            self._encode([o.before[at:] for o, at in zip(rendered, starts, strict=True) if isinstance(o, _Rendered)])
        )
        return [
            self._count(one, how, next(whole), next(tails).ids, at) if isinstance(one, _Rendered) else Count(0, 0, {}, [one])
            for one, how, at in zip(rendered, asked, starts, strict=True)
        ]  # fmt: skip

    def _encode(self, texts: list[str]) -> Any:
        return self._tokenizer.encode_batch(texts, add_special_tokens=False)

    def _rendered(self, asked: Asking) -> _Rendered | Problem:
        from jinja2 import TemplateError

        turns = [_turn(m) for m in asked.messages]
        try:
            whole = self._render(turns, asked.tools, prompt=not asked.learns)
            learned = asked.learns and len(turns) > 1
            return _Rendered(turns, whole, self._render(turns[:-1], asked.tools, prompt=True) if learned else "")
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            return "template-refuses", "messages", {"why": why}

    def _cut(self, before: str) -> int:
        """Return where the last special token of a prompt begins: what is left of it has the same tokens whatever follows; -1 without one."""
        return max((before.rfind(mark) for mark in self._cuts if before), default=0)

    def _count(self, one: _Rendered, asked: Asking, code: Any, tail: list[int], cut: int) -> Count:
        """Return the count of a conversation from the tokens of its whole and those of its prompt from `cut` on."""
        first = (code.char_to_token(cut) or 0) if cut else 0
        prompt = first + len(tail)
        stable = one.whole.startswith(one.before[:cut]) and code.ids[first:prompt] == tail
        each = self._each(one, code)
        roles: Counter[str] = Counter()
        for turn, size in zip(one.turns, each, strict=True):
            roles[turn["role"]] += size
        problems = list(self._problems(one, stable)) if one.before else []
        problems += list(self._long(len(code), prompt, asked.learns))
        weights = [m.get("weight", 1) for m in asked.messages]
        learned = sum(n for t, n, w in zip(one.turns, each, weights, strict=True) if t["role"] == "assistant" and w)
        return Count(len(code), learned, dict(roles), problems)

    def _each(self, one: _Rendered, code: Any) -> list[int]:
        """Return how many tokens each message has where it stands in the whole; by itself where it does not stand there as it is."""
        sizes, end = [], 0
        for turn in one.turns:
            content = turn["content"] or ""
            at = one.whole.find(content, end) if len(content) >= ALONE else -1
            if at < 0:
                sizes.append(self.text(content))
                continue
            end = at + len(content)
            sizes.append(_token_from(code, end, len(one.whole)) - _token_from(code, at, end))
        return sizes

    def _render(self, turns: list[Row], tools: Any, prompt: bool) -> str:
        return str(self._template.render(messages=turns, tools=tools, add_generation_prompt=prompt, **self._marks))

    def _problems(self, one: _Rendered, stable: bool) -> Iterator[Problem]:
        if not stable:
            yield "prefix-unstable", "messages", {}
            return
        answer = (one.turns[-1]["content"] or "").strip()
        after = one.whole[len(one.before) :]
        tail = after[after.find(answer) + len(answer) :] if answer in after else after
        if one.turns[-1]["role"] == "assistant" and not any(mark in tail for mark in self._special):
            yield "eos-unlearned", "messages", {}

    def _long(self, total: int, prompt: int, learns: bool) -> Iterator[Problem]:
        if self.limit and total > self.limit:
            yield "too-long", "messages", {"tokens": total, "limit": self.limit}
            if learns and prompt >= self.limit:
                yield "tokens-unlearned", "messages", {"limit": self.limit}


def _cuts(added: Sequence[Any]) -> list[str]:
    """Return the special tokens that part a text wherever they stand, whatever stands beside them."""
    plain = [t.content for t in added if not t.single_word and not t.normalized]
    return [mark for mark in plain if not any(mark != t.content and mark in t.content for t in added)]


def _token_from(code: Any, start: int, end: int) -> int:
    """Return the number of the first token that has a character from `start` on; that of the last and one where none has."""
    found = (code.char_to_token(place) for place in range(start, end))
    return next((token for token in found if token is not None), len(code))


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
