"""How a family of models writes a tool call: the grammar of such an answer, and the calls in one.

| form | a call |
| --- | --- |
| hermes (Hermes, Qwen 2.5 and 3) | `<tool_call>` and `</tool_call>` around `{"name": …, "arguments": {…}}`, each on a line of its own |
| llama (Llama 3.1 to 3.3) | the whole answer is `{"name": …, "parameters": {…}}` |
| mistral | `[TOOL_CALLS]` before a list of `{"name": …, "arguments": {…}}` |
| mistral-named (Mistral from 2025) | `[TOOL_CALLS]name[ARGS]{…}` |
| own | what the tokenizer's `response_template` says, which transformers reads |
| plain | hermes, told to the model in the prompt: for a template that has no tools, or tools in a form not known here |

Grammars are Lark as llguidance reads it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from chains.models.tools import Tools

_JSON = json.JSONDecoder()
_SPACED = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON as the templates write it, and so as the models have learnt it."""
_LISTED = ' (", " call)*'


@dataclass(frozen=True)
class Call:
    """A call in an answer: `arguments`, or the `raw` text and the `error` of one that cannot be read."""

    name: str | None
    arguments: dict[str, Any]
    raw: str = ""
    error: str | None = None


@dataclass(frozen=True)
class Said:
    """An answer taken apart."""

    text: str
    calls: list[Call] = field(default_factory=list)
    reasoning: str = ""


@dataclass(frozen=True)
class Form:
    """A family's way of writing calls: `opens` begins a call or a list of them, `closes` ends it ("" where the answer's end does)."""

    name: str
    opens: str
    closes: str = ""
    key: str = "arguments"

    @property
    def marks(self) -> tuple[str, ...]:
        """Texts that may be control tokens of the tokenizer, and are meant where the form has them."""
        more = {"mistral-named": ("[ARGS]",), "llama": ("<|python_tag|>",)}.get(self.name, ())
        return tuple(mark for mark in (self.opens, self.closes, *more) if mark)


HERMES = Form("hermes", "<tool_call>", "</tool_call>")
PLAIN = Form("plain", "<tool_call>", "</tool_call>")
LLAMA = Form("llama", "", key="parameters")
MISTRAL = Form("mistral", "[TOOL_CALLS]")
MISTRAL_NAMED = Form("mistral-named", "[TOOL_CALLS]")
OWN = Form("own", "")
"""A form that only the tokenizer's own response template reads: a call cannot be demanded in it."""


def of_template(template: str | None) -> Form:
    """Return the form that a chat template writes calls in."""
    if not template or not re.search(r"\btools\b", template):
        return PLAIN
    if "<tool_call>" in template and "<function=" not in template:
        return HERMES
    if "[TOOL_CALLS]" in template:
        return MISTRAL_NAMED if "[ARGS]" in template else MISTRAL
    if "<|start_header_id|>" in template and "parameters" in template:
        return LLAMA
    return PLAIN


# the grammar of an answer


def grammar(form: Form, tools: Tools, tokens: Mapping[str, int], schema: Mapping[str, Any] | bool | None = None) -> str:
    """Return the grammar of an answer: calls alone where `tools` forces one, else calls or JSON under `schema`, else text and calls.

    `tokens` are the ids of the form's marks that are single tokens of the tokenizer.
    """
    calls = list(enumerate(tools.allowed.items()))
    rules = [f"call: {' | '.join(_call(form, name, place, tokens) for place, (name, _) in calls)}"]
    rules += [f"args_{place}: %json {json.dumps(_spaced(schema))}" for place, (_, schema) in calls]
    if tools.forced or schema is None:
        answer = _forced if tools.forced else _free
        return "\n".join([*answer(form, tools.several, tokens), *rules]) + "\n"
    (calls_alone,) = _forced(form, tools.several, tokens)
    either = [
        "start: calls | answer",
        calls_alone.replace("start:", "calls:", 1),
        f"answer: %json {json.dumps(schema)}",
    ]
    return "\n".join([*either, *rules]) + "\n"


def _spaced(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**schema, "x-guidance": {**_SPACED, **schema.get("x-guidance", {})}}


def _call(form: Form, name: str, place: int, tokens: Mapping[str, int]) -> str:
    """Return the rule of one call, behind the opening mark."""
    if form is MISTRAL_NAMED:
        return f"{json.dumps(name)} {_literal('[ARGS]', tokens)} args_{place}"
    head = f'{{"name": {json.dumps(name, ensure_ascii=False)}, "{form.key}": '
    body = f'{json.dumps(head)} args_{place} "}}"'
    return f'"\\n" {body} "\\n" {_literal(form.closes, tokens)}' if form.closes else body


def _forced(form: Form, several: bool, tokens: Mapping[str, int]) -> list[str]:
    opens = _literal(form.opens, tokens)
    if form is MISTRAL:
        return [f'start: {opens} "[" call{_LISTED if several else ""} "]"']
    if form is LLAMA or not several:  # Llama's own template refuses more than one
        return [f"start: {opens} call"]
    between = '"\\n"' if form.closes else ""
    return [f"start: {opens} call ({between} {opens} call)*"]


def _free(form: Form, several: bool, tokens: Mapping[str, int]) -> list[str]:
    if form is LLAMA:
        return ["start: call | rest", "rest: /([^{\\s](.|\\n)*)?/"]
    calls = f'"[" call{_LISTED if several else ""} "]"' if form is MISTRAL else "call"
    free = f"(before {calls})* rest" if several and form is not MISTRAL else f"rest | before {calls}"
    lazy = "" if form.opens in tokens else "[lazy]"  # text ends at the first mark
    before = f"before{lazy}: TEXT {_literal(form.opens, tokens)}"
    return [f"start: {free}", before, "rest: TEXT", "TEXT: /(.|\\n)*/"]


def _literal(text: str, tokens: Mapping[str, int]) -> str:
    return f"<[{tokens[text]}]>" if text in tokens else json.dumps(text) if text else ""


# the calls in an answer


def read(form: Form, text: str, known: Mapping[str, Any]) -> Said:
    """Return the answer's text and calls. A call that cannot be read is kept with what is wrong; none is lost.

    `known` are the names of the tools: a form without a mark of its own takes JSON for a call only where it names one of them.
    """
    if form is LLAMA:
        return _read_bare(text, known)
    before, opened, rest = text.partition(form.opens)
    if not opened:
        return Said(text)
    if form in (HERMES, PLAIN):
        calls, after = _read_tagged(rest, form)
        return Said(before.rstrip() + ("\n" + after if after else ""), calls)
    return Said(before.rstrip(), [call for part in rest.split(form.opens) for call in _read_listed(part)])


def _read_tagged(rest: str, form: Form) -> tuple[list[Call], str]:
    """Return the calls of `rest`, which begins behind an opening mark, and the text between and after them."""
    calls, said = [], []
    while True:
        end = _value_end(rest)
        close = rest.find(form.closes, end)
        body, left = (rest, "") if close < 0 else (rest[:close], rest[close + len(form.closes) :])
        calls.append(_from_text(body.strip()))
        between, opened, rest = left.partition(form.opens)
        said.append(between.strip())
        if not opened:
            return calls, "\n".join(filter(None, said))


def _value_end(text: str) -> int:
    """Return where the JSON value at the beginning of `text` ends, 0 where there is none: a closing mark inside a string is no end."""
    start = len(text) - len(text.lstrip())
    try:
        return _JSON.raw_decode(text, start)[1]
    except ValueError:
        return 0


def _read_listed(part: str) -> Iterator[Call]:
    """Yield the calls of one `[TOOL_CALLS]` part: a list of objects, or a name with its arguments."""
    part = part.strip()
    named = re.match(r"([\w.-]+)(?:\[CALL_ID\][\w-]*)?(?:\[ARGS\]|(?=\s*\{))(.*)", part, re.DOTALL)
    if named:
        yield _from_parts(named[1], named[2].strip(), part)
        return
    try:
        values = json.loads(part)
    except ValueError as error:
        yield Call(_name_in(part), {}, part, _why(error))
        return
    for value in values if isinstance(values, list) else [values]:
        yield _from_value(value, json.dumps(value, ensure_ascii=False))


def _read_bare(text: str, known: Mapping[str, Any]) -> Said:
    body = text.strip()
    marked = body.startswith("<|python_tag|>")
    body = body.removeprefix("<|python_tag|>").strip()
    if not body.startswith("{"):
        return Said(text)
    calls, place = [], 0
    while place < len(body):
        try:
            value, end = _JSON.raw_decode(body, place)
        except ValueError as error:
            calls.append(Call(_name_in(body[place:]), {}, body[place:], _why(error)))
            break
        calls.append(_from_value(value, body[place:end]))
        place = end + len(body[end:]) - len(body[end:].lstrip("; \n"))
    return Said("", calls) if marked or calls[0].name in known else Said(text)


def _from_text(body: str) -> Call:
    try:
        return _from_value(json.loads(body), body)
    except ValueError as error:
        return Call(_name_in(body), {}, body, _why(error))


def _from_parts(name: str, arguments: str, raw: str) -> Call:
    try:
        return _from_value({"name": name, "arguments": json.loads(arguments)}, raw)
    except ValueError as error:
        return Call(name, {}, arguments, _why(error))


def _from_value(value: Any, raw: str) -> Call:
    value = value.get("function", value) if isinstance(value, dict) else value
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str) or not name:
        return Call(None, {}, raw, 'a call is {"name": …, "arguments": {…}}, and this names no tool')
    given = value.get("arguments", value.get("parameters"))
    if isinstance(given, str):  # written twice as JSON
        try:
            given = json.loads(given)
        except ValueError as error:
            return Call(name, {}, raw, _why(error))
    if given is not None and not isinstance(given, dict):
        return Call(name, {}, raw, f"the arguments are no JSON object but {json.dumps(given, ensure_ascii=False)}")
    return Call(name, given or {}, raw)


def _name_in(body: str) -> str | None:
    found = re.search(r'"name"\s*:\s*"([^"]+)"', body)
    return found[1] if found else None


def _why(error: ValueError) -> str:
    return f"the call is no JSON: {error}"
