"""What keeps a row from being trained on here: the errors of the one validator, and what the trainers do not take yet (tools, images)."""

from typing import Any

from tuning.data import rules_messages as rules
from tuning.data.findings import Finding, Row
from tuning.data.item import Misfit, messages_of, places_of
from tuning.data.parse import Problem
from tuning.data.rules_row import row_problems
from tuning.data.shapes.openai import RANKINGS

TRAINED = ("system", "developer", "user", "assistant")
"""The roles that the trainers render."""


def chat_problems(file: str, line: int, row: Row) -> list[Finding]:
    """Return what keeps one chat row from being trained on."""
    found = message_problems(file, line, row)
    if found:
        return found
    messages = row["messages"]
    return _findings(file, line, list(rules.order(messages, places_of("messages", len(messages)))))


def ranking_problems(file: str, line: int, row: Row) -> list[Finding]:
    """Return what keeps one rankings row from being trained on."""
    item, problems = row_problems(row, RANKINGS)
    found = _findings(file, line, problems)
    if found or item is None:
        return found
    for output in item.outputs:
        found += message_problems(file, line, {"messages": output.messages}, output.place.removesuffix("messages"))
    return message_problems(file, line, row["input"], "input.") + found


def message_problems(file: str, line: int, row: Row, prefix: str = "") -> list[Finding]:
    """Return what is wrong with the messages of `row`, whoever they are from; `prefix` says where in a larger row it lies."""
    try:
        messages = messages_of(row, "messages", prefix)
    except Misfit as misfit:
        return _findings(file, line, misfit.problems)
    places = places_of(f"{prefix}messages", len(messages))
    problems: list[Problem] = []
    for message, place in zip(messages, places, strict=True):
        own = list(rules.structure([message], [place]))
        problems += own or _untrained(message, place)
    return _findings(file, line, problems)


def _untrained(message: dict[str, Any], place: str) -> list[Problem]:
    if message["role"] not in TRAINED:
        return [("role-train", f"{place}.role", {"role": repr(message["role"])})]
    if not isinstance(message.get("content"), str) or not message["content"].strip():
        return [("content-empty", f"{place}.content", {})]
    return []


def _findings(file: str, line: int, problems: list[Problem]) -> list[Finding]:
    found = [Finding(file, line, field, rule, values) for rule, field, values in problems]
    return [finding for finding in found if finding.level == "error"]
