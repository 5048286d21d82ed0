"""What can be wrong with one row of training data, each thing with the place it is at and what to do about it."""

from dataclasses import dataclass
from functools import partial
from typing import Any

Row = dict[str, Any]
ROLES = ("system", "developer", "user", "assistant")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (`error`) or unwise (`warning`) at a place in a file, and what to do."""

    file: str
    line: int
    field: str
    problem: str
    fix: str
    level: str = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.field + ': ' if self.field else ''}{self.problem}; {self.fix}"


def chat_problems(file: str, line: int, row: Row) -> list[Finding]:
    """Return what is wrong with one chat row."""
    found = message_problems(file, line, row)
    if found:
        return found
    at = partial(Finding, file, line)
    messages = row["messages"]
    if messages[0]["role"] == "assistant":
        found.append(at("messages[0]", "the assistant speaks first", "put a user or system message before it"))
    if messages[-1]["role"] != "assistant":
        found.append(at("messages", "the last message is not the assistant's", "end the row with the answer to learn"))
    if not any(m["role"] == "assistant" and m.get("weight", 1) for m in messages):
        found.append(at("messages", "nothing here is learned", "add an assistant message, or give one weight 1"))
    for place, message in enumerate(messages):
        if message["role"] == "system" and place:
            middle = "a system message in the middle"
            found.append(at(f"messages[{place}]", middle, "move it to the front", level="warning"))
        if message.get("weight", 1) not in (0, 1):
            found.append(at(f"messages[{place}].weight", f"{message['weight']!r} is no weight", "use 0 or 1"))
    return found


def ranking_problems(file: str, line: int, row: Row) -> list[Finding]:
    """Return what is wrong with one rankings row."""
    at = partial(Finding, file, line)
    if not isinstance(row.get("input"), dict):
        return [at("input", "is missing or no object", 'expected {"input": {"messages": […]}, "outputs": […]}')]
    found = message_problems(file, line, row["input"], "input.")
    if not found and row["input"]["messages"][-1]["role"] == "assistant":
        fix = "end it with the user's; what is ranked goes into outputs"
        found.append(at("input.messages", "the prompt ends with the assistant's message", fix))
    outputs = row.get("outputs")
    if not isinstance(outputs, list) or len(outputs) < 2:
        fix = "give 2 to 9 answers, each with its rank"
        return [*found, at("outputs", "holds fewer than two answers", fix)]
    for place, output in enumerate(outputs):
        found += _output_problems(file, line, output, f"outputs[{place}]")
    if not found and len({output["rank"] for output in outputs}) == 1:
        fix = "rank at least one above another, or remove the row"
        found.append(at("outputs", "all answers have the same rank", fix))
    return found


def _output_problems(file: str, line: int, output: Any, where: str) -> list[Finding]:
    at = partial(Finding, file, line)
    if not isinstance(output, dict):
        return [at(where, "is no object", 'expected {"messages": […], "rank": 1}')]
    found = message_problems(file, line, output, f"{where}.")
    if not found and [message["role"] for message in output["messages"]] != ["assistant"]:
        found.append(at(f"{where}.messages", "is no single answer", "give one message of role 'assistant'"))
    rank = output.get("rank")
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        fix = "use a whole number from 1, the best; equal ranks are a tie"
        found.append(at(f"{where}.rank", f"{rank!r} is no rank", fix))
    return found


def message_problems(file: str, line: int, row: Row, prefix: str = "") -> list[Finding]:
    """Return what is wrong with the messages of `row`, whoever they are from; `prefix` says where in a larger row it lies."""
    at = partial(Finding, file, line)
    messages = row.get("messages")
    field = f"{prefix}messages"
    if not isinstance(messages, list) or not messages:
        return [at(field, "is missing or empty", 'expected {"messages": [{"role": "user", "content": "…"}, …]}')]
    found = []
    for place, message in enumerate(messages):
        where = f"{field}[{place}]"
        if not isinstance(message, dict):
            found.append(at(where, "is no object", 'expected {"role": …, "content": …}'))
        elif message.get("role") not in ROLES:
            found.append(at(f"{where}.role", f"{message.get('role')!r} is unknown", "use 'user' or 'assistant'"))
        elif not isinstance(message.get("content"), str) or not message["content"].strip():
            found.append(at(f"{where}.content", "is empty or no text", "write what was said"))
    return found
