"""All rules that look at one row: its shape, its messages, its answers."""

from collections.abc import Iterator

from tuning.data import rules_messages as rules
from tuning.data.findings import Row
from tuning.data.item import Item, Misfit, said
from tuning.data.parse import Problem
from tuning.data.recognise import RECORDS, shape_of
from tuning.data.shapes.shape import Shape

SPLIT = ("openai-chat", "openai-reinforcement", "openai-preference", "rankings", "trl-prompt-completion", "trl-preference", "trl-unpaired",
         "trl-preference-implicit", "trl-prompt-only")  # fmt: skip
"""The formats whose messages are objects with a role and a content of their own."""


def row_problems(row: Row, shape: Shape) -> tuple[Item | None, list[Problem]]:
    """Return the row as an item (None where it is none) and what is wrong with it by the rules of its format."""
    if not shape.fits(row) and (other := shape_of(row)) is not RECORDS and not _same_family(other, shape):
        return None, [("mixed-formats", "", {"found": other.name, "format": shape.name})]
    try:
        item = shape.read(row)
    except Misfit as misfit:
        return None, misfit.problems
    found = list(_item_problems(item, shape))
    if shape.strict and shape.keys:
        found += [("key-unknown", "", {"key": key}) for key in row.keys() - shape.keys - {"metadata"}]
    fatal = {"message-type", "role-unknown"}
    return (None if any(rule in fatal for rule, _, _ in found) else item), found


def _same_family(one: Shape, other: Shape) -> bool:
    chats = {"openai-chat", "openai-reinforcement"}
    return one.name == other.name or {one.name, other.name} <= chats


def _item_problems(item: Item, shape: Shape) -> Iterator[Problem]:
    split = shape.name in SPLIT
    if item.kind == "text":
        if not item.text.strip():
            yield "field-empty", "text", {}
        return
    flawed = list(rules.structure(item.messages, item.places, split))
    for output in item.outputs:
        flawed += rules.structure(output.messages, _output_places(output.messages, output.place, split), split)
    if not split:
        flawed = [
            (("field-empty", place, {}) if rule == "content-empty" else (rule, place, values))
            for rule, place, values in flawed
        ]
    yield from flawed
    yield from rules.tools(item.tools, item.parallel, item.extra.get("functions"))
    if any(rule in ("message-type", "role-unknown") for rule, _, _ in flawed):
        return
    yield from rules.calls(item.messages, item.places, item.tools, split)
    yield from rules.system_middle(item.messages, item.places)
    match item.kind:
        case "chat" if shape.name == "completion":
            pass  # a row without a prompt is open-ended text, which may be learned
        case "chat":
            yield from rules.order(item.messages, item.places, item.places[0].split("[")[0])
        case "prompt":
            if item.messages[-1]["role"] != "user":
                yield "user-last", item.places[-1].split("[")[0], {}
        case "ranked":
            yield from _ranked(item, shape)


def _output_places(messages: list[Row], place: str, split: bool) -> list[str]:
    return [f"{place}[{n}]" for n in range(len(messages))] if split else [place] * len(messages)


def _ranked(item: Item, shape: Shape) -> Iterator[Problem]:
    if item.messages and item.messages[-1]["role"] == "assistant" and shape.name in SPLIT:
        yield "prompt-assistant", item.places[0].split("[")[0], {}
    for output in item.outputs:
        if shape.name == "rankings" and [m.get("role") for m in output.messages] != ["assistant"]:
            yield "output-single", output.place, {}
        elif output.messages and output.messages[-1].get("role") != "assistant":
            yield "assistant-last", output.place, {}
    if len({output.rank for output in item.outputs}) == 1:
        yield "ranks-equal", "outputs", {}
    texts: dict[tuple[str, ...], int] = {}
    for output in item.outputs:
        text = tuple(said(message).strip() for message in output.messages)
        if text in texts and texts[text] != output.rank:
            yield "preferred-equal", output.place, {}
        texts.setdefault(text, output.rank or 0)
