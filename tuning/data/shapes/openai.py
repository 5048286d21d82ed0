"""OpenAI's rows: chat, prompt and completion, preference and reinforcement items; and ours, rankings, which has their messages."""

from typing import Any

from tuning.data.findings import Row
from tuning.data.item import Item, Losses, Misfit, Output, is_texts, messages_of, places_of, text_of, wrong
from tuning.data.shapes.shape import Shape, best_and_rest, drop_extra, drop_tools, plain, spare, with_tools
from tuning.data.transcript import transcript

_TOOLS = ("tools", "parallel_tool_calls")


def _chat_read(row: Row) -> Item:
    messages = messages_of(row, "messages")
    return Item("chat", messages, places_of("messages", len(messages)), tools=row.get("tools"),
                parallel=row.get("parallel_tool_calls"), extra=spare(row, ("messages", *_TOOLS)))  # fmt: skip


def _chat_write(item: Item, losses: Losses) -> Row:
    kept = {key: value for key, value in item.extra.items() if key == "functions"}
    if len(kept) < len(item.extra):
        losses["extra"] += 1
    return with_tools({"messages": item.messages, **kept}, item)


def _reinforcement_read(row: Row) -> Item:
    item = _chat_read(row)
    item.kind = "prompt"
    return item


def _reinforcement_write(item: Item, losses: Losses) -> Row:
    return {**with_tools({"messages": item.messages}, item), **item.extra}


def _completion_read(row: Row) -> Item:
    prompt, completion = text_of(row, "prompt"), text_of(row, "completion")
    asked = [{"role": "user", "content": prompt}] if prompt else []
    places = (["prompt"] if prompt else []) + ["completion"]
    answer = {"role": "assistant", "content": completion}
    return Item("chat", [*asked, answer], places, extra=spare(row, ("prompt", "completion")))


def _completion_write(item: Item, losses: Losses) -> Row:
    drop_tools(item, losses)
    *asked, answer = item.messages
    prompt = plain(asked[0], losses) if asked else ""
    if len(asked) > 1 or (asked and asked[0]["role"] != "user"):
        prompt = transcript(asked, losses) + "\n\nAssistant:"
        losses["transcript"] += 1
    return {"prompt": prompt, "completion": plain(answer, losses), **item.extra}


def _preference_read(row: Row) -> Item:
    if not isinstance(row.get("input"), dict):
        raise wrong("input", row.get("input"), '{"messages": […]}')
    asked = messages_of(row["input"], "messages", "input.")
    names = _preference_keys(row)
    outputs = [Output(messages_of(row, name), name, rank) for rank, name in enumerate(names, 1)]
    if set(row["input"]) - {"messages", *_TOOLS}:
        extra = {**spare(row, ("input", *names)), "input": spare(row["input"], ("messages", *_TOOLS))}
    else:
        extra = spare(row, ("input", *names))
    return Item("ranked", asked, places_of("input.messages", len(asked)), outputs, row["input"].get("tools"),
                row["input"].get("parallel_tool_calls"), extra=extra)  # fmt: skip


def _preference_keys(row: Row) -> tuple[str, str]:
    old = "preferred_completion" in row and "preferred_output" not in row
    return ("preferred_completion", "non_preferred_completion") if old else ("preferred_output", "non_preferred_output")


def _preference_write(item: Item, losses: Losses) -> Row:
    better, worse = best_and_rest(item)
    drop_extra(item, losses)
    _drop_scores(item, losses, distance=True)
    inner: Row = with_tools({"messages": item.messages}, item)
    return {"input": inner, "preferred_output": better.messages, "non_preferred_output": worse.messages}


def _drop_scores(item: Item, losses: Losses, distance: bool) -> None:
    if any(output.extra for output in item.outputs):
        losses["scores"] += 1
    if distance and sorted(output.rank or 0 for output in item.outputs) != [1, 2]:
        losses["ranks"] += 1


def _rankings_read(row: Row) -> Item:
    if not isinstance(row.get("input"), dict):
        raise wrong("input", row.get("input"), '{"input": {"messages": […]}, "outputs": […]}')
    asked = messages_of(row["input"], "messages", "input.")
    found = row.get("outputs")
    if not isinstance(found, list) or len(found) < 2:
        raise Misfit(("outputs-few", "outputs", {}))
    outputs = [_ranked_output(output, f"outputs[{place}]") for place, output in enumerate(found)]
    extra = spare(row, ("input", "outputs"))
    return Item("ranked", asked, places_of("input.messages", len(asked)), outputs, row["input"].get("tools"),
                row["input"].get("parallel_tool_calls"), extra=extra)  # fmt: skip


def _ranked_output(output: Any, place: str) -> Output:
    if not isinstance(output, dict):
        raise Misfit(("output-type", place, {}))
    rank = output.get("rank")
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise Misfit(("rank-invalid", f"{place}.rank", {"rank": repr(rank)}))
    return Output(messages_of(output, "messages", f"{place}."), f"{place}.messages", rank,
                  extra=spare(output, ("messages", "rank")))  # fmt: skip


def _rankings_write(item: Item, losses: Losses) -> Row:
    inner = with_tools({"messages": item.messages}, item)
    outputs = [{"messages": output.messages, "rank": output.rank, **output.extra} for output in item.outputs]
    return {"input": inner, "outputs": outputs, **item.extra}


def _ends_with(role: str, row: Row) -> bool:
    messages = row.get("messages")
    return (
        isinstance(messages, list)
        and bool(messages)
        and isinstance(messages[-1], dict)
        and messages[-1].get("role") == role
    )


RANKINGS = Shape("rankings", "rankings (K answers to a prompt)", "ranked", lambda row: "outputs" in row and "input" in row,
                 _rankings_read, _rankings_write, frozenset({"input", "outputs"}))  # fmt: skip
PREFERENCE = Shape("openai-preference", "OpenAI preference", "ranked",
                   lambda row: isinstance(row.get("input"), dict) and bool({"preferred_output", "preferred_completion", "non_preferred_output"} & row.keys()),
                   _preference_read, _preference_write,
                   frozenset({"input", "preferred_output", "non_preferred_output", "preferred_completion", "non_preferred_completion"}),
                   pairs=True, strict=True)  # fmt: skip
REINFORCEMENT = Shape("openai-reinforcement", "OpenAI reinforcement", "prompt",
                      lambda row: _ends_with("user", row) and is_texts(row["messages"]), _reinforcement_read, _reinforcement_write)  # fmt: skip
CHAT = Shape("openai-chat", "OpenAI chat", "chat", lambda row: "messages" in row, _chat_read, _chat_write,
             frozenset({"messages", "functions", *_TOOLS}), strict=True)  # fmt: skip
COMPLETION = Shape("completion", "OpenAI prompt and completion (legacy)", "chat",
                   lambda row: isinstance(row.get("prompt"), str) and "completion" in row and "label" not in row,
                   _completion_read, _completion_write, frozenset({"prompt", "completion"}), strict=True)  # fmt: skip
