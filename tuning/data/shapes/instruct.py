"""Alpaca's, ShareGPT's and a table's rows."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from tuning.data.findings import Row
from tuning.data.item import Item, Losses, Misfit, messages_of, places_of, said, text_of, wrong
from tuning.data.shapes.shape import Shape, drop_tools, plain, spare

_ALPACA = ("instruction", "input", "output", "system", "history")
QUESTIONS = ("question", "질문", "q", "query", "user", "문제", "prompt", "human")
ANSWERS = ("answer", "답변", "답", "a", "response", "assistant", "정답", "reply", "output", "completion")


def _alpaca_read(row: Row) -> Item:
    instruction, given, output = text_of(row, "instruction"), text_of(row, "input", ""), text_of(row, "output")
    messages: list[Row] = []
    places: list[str] = []
    if system := text_of(row, "system", ""):
        messages, places = [{"role": "system", "content": system}], ["system"]
    for place, pair in enumerate(_history(row)):
        messages += [{"role": role, "content": said} for role, said in zip(("user", "assistant"), pair, strict=True)]
        places += [f"history[{place}][0]", f"history[{place}][1]"]
    asked = f"{instruction}\n{given}" if given else instruction
    messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": output}]
    return Item("chat", messages, [*places, "instruction", "output"], extra=spare(row, _ALPACA))


def _history(row: Row) -> list[Any]:
    history = row.get("history") or []
    if not isinstance(history, list) or not all(
        isinstance(p, list) and len(p) == 2 and all(isinstance(s, str) for s in p) for p in history
    ):
        raise wrong("history", history, '[["question", "answer"], …]')
    return history


def _alpaca_write(item: Item, losses: Losses) -> Row:
    drop_tools(item, losses)
    system, pairs = _pairs(item.messages, losses)
    row: Row = {"instruction": pairs[-1][0], "input": "", "output": pairs[-1][1]}
    if system:
        row["system"] = system
    if pairs[:-1]:
        row["history"] = pairs[:-1]
    return {**row, **item.extra}


def _pairs(messages: list[Row], losses: Losses) -> tuple[str, list[list[str]]]:
    """Return the system message and the turns as [question, answer]; messages of one speaker are joined, those of tools left out."""
    system: list[str] = []
    pairs: list[list[str]] = []
    for message in messages:
        role, text = message.get("role"), plain(message, losses)
        if role in ("system", "developer") and not pairs:
            losses["developer"] += role == "developer"
            system.append(text)
        elif role == "assistant":
            if not pairs:
                pairs.append(["", text])
            elif pairs[-1][1]:
                losses["merged"] += 1
                pairs[-1][1] += "\n\n" + text
            else:
                pairs[-1][1] = text
        elif role in ("user", "system", "developer"):
            losses["merged"] += role != "user"
            if pairs and not pairs[-1][1]:
                losses["merged"] += 1
                pairs[-1][0] += "\n\n" + text
            else:
                pairs.append([text, ""])
        else:
            losses["tools"] += 1
    losses["merged"] += len(system) > 1
    return "\n\n".join(system), pairs or [["", ""]]


_FROM = {"human": "user", "gpt": "assistant", "system": "system", "user": "user", "assistant": "assistant", "observation": "tool",
         "function_call": "assistant", "tool": "tool"}  # fmt: skip


def _sharegpt_read(row: Row) -> Item:
    found = messages_of(row, "conversations")
    messages: list[Row] = []
    places = places_of("conversations", len(found))
    if system := text_of(row, "system", ""):
        messages.append({"role": "system", "content": system})
        places.insert(0, "system")
    calls = 0
    for place, turn in enumerate(found):
        speaker, value = turn.get("from"), turn.get("value")
        if speaker not in _FROM:
            raise Misfit(("role-unknown", f"conversations[{place}].from", {"role": repr(speaker)}))
        if not isinstance(value, str):
            raise wrong(f"conversations[{place}].value", value, "text")
        if speaker == "function_call":
            made, calls = _calls(value, f"conversations[{place}].value", calls)
            messages.append(
                {"role": "assistant", "content": None, "tool_calls": made, **spare(turn, ("from", "value"))}
            )
            continue
        message = {"role": _FROM[speaker], "content": value, **spare(turn, ("from", "value"))}
        if message["role"] == "tool":
            message["tool_call_id"] = f"call_{max(calls - 1, 0)}"
        messages.append(message)
    return Item(
        "chat", messages, places, tools=_sharegpt_tools(row), extra=spare(row, ("conversations", "system", "tools"))
    )


def _calls(value: str, place: str, count: int) -> tuple[list[Row], int]:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Misfit(("arguments-json", place, {})) from error
    calls = found if isinstance(found, list) else [found]
    if not calls or not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        raise Misfit(("call-invalid", place, {}))
    made = [
        {"id": f"call_{count + i}", "type": "function",
         "function": {"name": call["name"], "arguments": _as_text(call.get("arguments", {}))}}
        for i, call in enumerate(calls)
    ]  # fmt: skip
    return made, count + len(made)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _sharegpt_tools(row: Row) -> list[Any] | None:
    tools = row.get("tools")
    if isinstance(tools, str):
        if not tools:
            return None
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError) as error:
            raise wrong("tools", tools, "JSON of a list of tools") from error
    if tools is None:
        return None
    if not isinstance(tools, list):
        raise wrong("tools", tools, "a list of tools")
    return [
        tool if isinstance(tool, dict) and "function" in tool else {"type": "function", "function": tool}
        for tool in tools
    ]


def _sharegpt_write(item: Item, losses: Losses) -> Row:
    turns: list[Row] = []
    row: Row = {"conversations": turns}
    for place, message in enumerate(item.messages):
        role = message.get("role")
        if role in ("system", "developer") and place == 0:
            losses["developer"] += role == "developer"
            row["system"] = plain(message, losses)
            continue
        calls = message.get("tool_calls") or (
            [{"function": message["function_call"]}] if "function_call" in message else []
        )
        text = plain(message, losses, keep=("tool_calls", "function_call", "weight"))
        if text or not calls:
            name = {"user": "human", "assistant": "gpt", "tool": "observation", "function": "observation"}.get(
                str(role), "system"
            )
            turns.append({"from": name, "value": text})
            if "weight" in message:
                turns[-1]["weight"] = message["weight"]
        if calls:
            turns.append({"from": "function_call", "value": _call_text(calls)})
            losses["ids"] += sum(not str(call.get("id", "")).startswith("call_") for call in calls)
            losses["weight"] += "weight" in message
    if item.tools is not None:
        row["tools"] = json.dumps(
            [t["function"] if list(t) == ["type", "function"] else t for t in item.tools], ensure_ascii=False
        )
    if item.parallel is not None:
        losses["parallel"] += 1
    return {**row, **item.extra}


def _call_text(calls: list[Row]) -> str:
    """Return calls as ShareGPT writes them: one object, or a list of several, the arguments as JSON."""
    made = []
    for call in calls:
        function = call.get("function", {})
        try:
            arguments = json.loads(function.get("arguments", "{}"))
        except (ValueError, RecursionError, TypeError):
            arguments = function.get("arguments")
        made.append({"name": function.get("name"), "arguments": arguments})
    return json.dumps(made[0] if len(made) == 1 else made, ensure_ascii=False)


def _table_read(row: Row, question: str, answer: str) -> Item:
    asked, answered = _cell(row, question), _cell(row, answer)
    messages: list[Row] = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    places = [question, answer]
    if system := row.get("system"):
        messages.insert(0, {"role": "system", "content": str(system)})
        places.insert(0, "system")
    return Item("chat", messages, places, extra=spare(row, (question, answer, "system")))


def _cell(row: Row, column: str) -> str:
    if column not in row:
        raise Misfit(("field-missing", column, {"expected": f"a column {column!r}"}))
    value = row[column]
    if isinstance(value, dict | list) or value is None:
        raise wrong(column, value, "text")
    return value if isinstance(value, str) else str(value)


def _table_write(item: Item, losses: Losses, question: str, answer: str) -> Row:
    drop_tools(item, losses)
    asked = [m for m in item.messages[:-1] if m.get("role") not in ("system", "developer")]
    system = [m for m in item.messages[:-1] if m.get("role") in ("system", "developer")]
    losses["developer"] += sum(m["role"] == "developer" for m in system)
    row: Row = {question: plain(asked[0], losses) if asked else "", answer: plain(item.messages[-1], losses)}
    if len(asked) > 1:
        from tuning.data.transcript import transcript

        row[question] = transcript(asked, losses).removeprefix("\n\n")
        losses["transcript"] += 1
    if system:
        row["system"] = "\n\n".join(said(m) for m in system)
    return {**row, **item.extra}


def table(question: str = "question", answer: str = "answer") -> Shape:
    """Return the format of rows with a column of questions and one of answers."""
    return Shape("table", f"a table of questions ({question}) and answers ({answer})", "chat",
                 lambda row: question in row and answer in row, partial(_table_read, question=question, answer=answer),
                 partial(_table_write, question=question, answer=answer))  # fmt: skip


def guess_columns(names: Sequence[str]) -> tuple[str, str] | None:
    """Return the columns of questions and answers by their usual names, None where they have others."""
    lower = {name.strip().lower(): name for name in names}
    question = next((lower[name] for name in QUESTIONS if name in lower), None)
    answer = next((lower[name] for name in ANSWERS if name in lower and lower[name] != question), None)
    return (question, answer) if question and answer else None


ALPACA = Shape("alpaca", "Alpaca", "chat", lambda row: "instruction" in row and "output" in row, _alpaca_read, _alpaca_write,
               frozenset(_ALPACA))  # fmt: skip
SHAREGPT = Shape("sharegpt", "ShareGPT", "chat", lambda row: "conversations" in row, _sharegpt_read, _sharegpt_write,
                 frozenset({"conversations", "system", "tools"}))  # fmt: skip
