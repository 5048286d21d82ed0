"""Tools for a model whose chat template has none: told in the system message, and the calls and results written as text.

    system     the tools as JSON, one on a line, and how to call one
    assistant  <tool_call>
               {"name": "add", "arguments": {"a": 1}}
               </tool_call>
    user       <tool_response>
               {"name": "add", "content": "2"}
               </tool_response>

It is the form of Hermes, which most open models have seen. Where the template takes no system message, the tools are told at the
beginning of the first user message. A result that follows a result joins its turn.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from chains.models.tools import Tools

_TOLD = """You can call tools. The tools, each a JSON schema:
<tools>
{tools}
</tools>
To call a tool, write its name and its arguments as JSON between these tags, and nothing after them:
<tool_call>
{{"name": "the tool's name", "arguments": {{"argument": "value"}}}}
</tool_call>"""


def written(rows: Sequence[Mapping[str, Any]], tools: Tools | None, system: bool) -> list[dict[str, Any]]:
    """Return the rows with calls and results as text, and the tools told; nothing else changes."""
    made: list[dict[str, Any]] = []
    after_result = False
    for row in rows:
        if row["role"] == "tool":
            result = _result(row)
            if after_result:
                made[-1]["content"] += "\n" + result
            else:
                made.append({"role": "user", "content": result})
        else:
            made.append(_with_calls(row))
        after_result = row["role"] == "tool"
    return _told(made, tools, system) if tools else made


def _result(row: Mapping[str, Any]) -> str:
    said = {key: row[key] for key in ("name", "content") if key in row}
    return f"<tool_response>\n{json.dumps(said, ensure_ascii=False)}\n</tool_response>"


def _with_calls(row: Mapping[str, Any]) -> dict[str, Any]:
    calls = [_call(call["function"]) for call in row.get("tool_calls", ())]
    texts = [row["content"], *calls] if row["content"] else calls
    return {"role": row["role"], "content": "\n".join(texts)} if calls else dict(row)


def _call(function: Mapping[str, Any]) -> str:
    call = {"name": function["name"], "arguments": function["arguments"]}
    return f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>"


def _told(rows: list[dict[str, Any]], tools: Tools, system: bool) -> list[dict[str, Any]]:
    told = _TOLD.format(tools="\n".join(json.dumps(each, ensure_ascii=False) for each in tools.definitions))
    role = "system" if system else "user"
    place = next((i for i, row in enumerate(rows) if row["role"] == role), None)
    if place is None or (system and place > 0):
        return [{"role": role, "content": told}, *rows]
    said = rows[place]["content"]
    joined = f"{said}\n\n{told}" if system else f"{told}\n\n{said}"
    return [*rows[:place], {**rows[place], "content": joined}, *rows[place + 1 :]]
