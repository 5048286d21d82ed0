"""TRL's types, each as texts and as messages; and hh-rlhf's pairs of transcripts, which are a preference without a prompt of its own."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from tuning.data.findings import Row
from tuning.data.item import Item, Losses, Misfit, Output, is_texts, messages_of, places_of, said, text_of, wrong
from tuning.data.shapes.shape import Shape, best_and_rest, drop_tools, plain, spare
from tuning.data.transcript import transcript, turns

_OWN = ("prompt", "completion", "chosen", "rejected", "label", "completions", "labels", "tools", "parallel_tool_calls")


def _common(row: Row, kind: str, messages: list[Row], places: list[str], outputs: list[Output] | None = None) -> Item:
    tools = row.get("tools")
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except ValueError as error:
            raise wrong("tools", tools, "a list, or JSON of one") from error
    return Item(kind, messages, places, outputs or [], tools, row.get("parallel_tool_calls"), extra=spare(row, _OWN))


def _asked(row: Row) -> tuple[list[Row], list[str]]:
    """Return the prompt's messages and places, of either form; nothing where it is not there."""
    prompt = row.get("prompt")
    if isinstance(prompt, list):
        messages = messages_of(row, "prompt")
        return messages, places_of("prompt", len(messages))
    text = text_of(row, "prompt", "")
    return ([{"role": "user", "content": text}], ["prompt"]) if text else ([], [])


def _answer(row: Row, key: str) -> list[Row]:
    return (
        messages_of(row, key)
        if isinstance(row.get(key), list)
        else [{"role": "assistant", "content": text_of(row, key)}]
    )


def _finish(row: Row, item: Item, losses: Losses, tools: bool) -> Row:
    if tools and item.tools is not None:
        row["tools"] = item.tools
    if item.parallel is not None:
        losses["parallel"] += 1
    if not tools and item.tools:
        losses["tools"] += 1
    return {**row, **item.extra}


def _text(messages: list[Row], losses: Losses) -> str:
    """Return a prompt as text: a single question as it is, a longer conversation as a transcript."""
    if not messages:
        return ""
    if len(messages) == 1 and messages[0].get("role") in ("user", "assistant"):
        return plain(messages[0], losses)
    losses["transcript"] += 1
    return transcript(messages, losses) + ("\n\nAssistant:" if messages[-1]["role"] != "assistant" else "")


def _prompt_read(row: Row) -> Item:
    messages, places = _asked(row)
    if not messages:
        raise Misfit(("field-empty", "prompt", {}))
    return _common(row, "prompt", messages, places)


def _prompt_write(item: Item, losses: Losses, texts: bool) -> Row:
    return _finish({"prompt": _text(item.messages, losses) if texts else item.messages}, item, losses, not texts)


def _completion_read(row: Row) -> Item:
    asked, places = _asked(row)
    shown = [{**m, "weight": 0} if m.get("role") == "assistant" and "weight" not in m else m for m in asked]
    answer = _answer(row, "completion")
    return _common(row, "chat", [*shown, *answer], places + places_of("completion", len(answer)))


def _completion_write(item: Item, losses: Losses) -> Row:
    asked_until = max((i + 1 for i, m in enumerate(item.messages) if m.get("role") == "user"), default=0)
    asked, answer = item.messages[:asked_until], item.messages[asked_until:]
    if any(m.get("weight", 1) for m in asked if m.get("role") == "assistant"):
        losses["weight"] += 1
    asked = [spare(m, ("weight",)) if m.get("weight") == 0 else m for m in asked]
    return _finish({"prompt": asked, "completion": answer}, item, losses, True)


def _preference_read(row: Row) -> Item:
    asked, places = _asked(row)
    outputs = [Output(_answer(row, key), key, rank) for rank, key in enumerate(("chosen", "rejected"), 1)]
    return _common(row, "ranked", asked, places, outputs)


def _preference_write(item: Item, losses: Losses, texts: bool) -> Row:
    better, worse = best_and_rest(item)
    drop_scores(item, losses)
    row: Row = {"prompt": _text(item.messages, losses) if texts else item.messages} if item.messages else {}
    for key, output in (("chosen", better), ("rejected", worse)):
        row[key] = _text(output.messages, losses) if texts else output.messages
    return _finish(row, item, losses, not texts)


def _implicit_read(row: Row) -> Item:
    chosen, rejected = messages_of(row, "chosen"), messages_of(row, "rejected")
    return _split(row, chosen, rejected)


def _split(row: Row, chosen: list[Row], rejected: list[Row]) -> Item:
    """Return the item of two whole conversations: what they begin with in common is the prompt."""
    shared = 0
    most = min(len(chosen), len(rejected)) - 1
    while shared < most and chosen[shared] == rejected[shared]:
        shared += 1
    outputs = [Output(chosen[shared:], "chosen", 1), Output(rejected[shared:], "rejected", 2)]
    return _common(row, "ranked", chosen[:shared], places_of("chosen", shared), outputs)


def _implicit_write(item: Item, losses: Losses) -> Row:
    better, worse = best_and_rest(item)
    drop_scores(item, losses)
    row = {"chosen": item.conversation(better), "rejected": item.conversation(worse)}
    return _finish(row, item, losses, True)


def _hh_read(row: Row) -> Item:
    chosen, rejected = turns(text_of(row, "chosen")), turns(text_of(row, "rejected"))
    for key, found in (("chosen", chosen), ("rejected", rejected)):
        if not found:
            raise wrong(key, row[key], '"\\n\\nHuman: …\\n\\nAssistant: …"')
    return _split(row, chosen, rejected)


def _hh_write(item: Item, losses: Losses) -> Row:
    better, worse = best_and_rest(item)
    drop_scores(item, losses)
    row: Row = {
        key: transcript(item.conversation(output), losses) for key, output in (("chosen", better), ("rejected", worse))
    }
    return _finish(row, item, losses, False)


def drop_scores(item: Item, losses: Losses) -> None:
    """Count ranks and keys of answers that a pair has no place for."""
    if any(output.extra for output in item.outputs):
        losses["scores"] += 1
    if sorted(output.rank or 0 for output in item.outputs) != [1, 2]:
        losses["ranks"] += 1


def _unpaired_read(row: Row) -> Item:
    asked, places = _asked(row)
    if not isinstance(row.get("label"), bool):
        raise Misfit(("label-invalid", "label", {"label": repr(row.get("label"))}))
    return _common(
        row, "labelled", asked, places, [Output(_answer(row, "completion"), "completion", label=row["label"])]
    )


def _unpaired_write(item: Item, losses: Losses, texts: bool) -> Row:
    (output,) = item.outputs
    prompt: Any = _text(item.messages, losses) if texts else item.messages
    answer: Any = _text(output.messages, losses) if texts else output.messages
    return _finish({"prompt": prompt, "completion": answer, "label": output.label}, item, losses, not texts)


def _steps_read(row: Row) -> Item:
    asked, places = _asked(row)
    steps, labels = row.get("completions"), row.get("labels")
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps) or not steps:
        raise wrong("completions", steps, "a list of texts")
    if (
        not isinstance(labels, list)
        or len(labels) != len(steps)
        or not all(isinstance(label, bool) for label in labels)
    ):
        raise wrong("labels", labels, f"a list of {len(steps)} truth values")
    outputs = [Output([{"role": "assistant", "content": step}], f"completions[{i}]", label=label)
               for i, (step, label) in enumerate(zip(steps, labels, strict=True))]  # fmt: skip
    return _common(row, "steps", asked, places, outputs)


def _steps_write(item: Item, losses: Losses) -> Row:
    row: Row = {
        "prompt": _text(item.messages, losses),
        "completions": [said(output.messages[0]) for output in item.outputs],
        "labels": [output.label for output in item.outputs],
    }
    return _finish(row, item, losses, False)


def _text_read(row: Row) -> Item:
    return Item("text", text=text_of(row, "text"), extra=spare(row, ("text",)))


def _text_write(item: Item, losses: Losses) -> Row:
    drop_tools(item, losses)
    return {"text": item.text, **item.extra}


def _has(*keys: str, texts: bool | None = None) -> Callable[[Row], bool]:
    """Return a test for rows with all `keys`, which hold texts (True), messages (False) or either (None)."""

    def test(row: Row) -> bool:
        if not all(key in row for key in keys):
            return False
        found = [row[key] for key in ("prompt", *keys) if key in row and key != "label"]
        return texts is None or all(isinstance(v, str) if texts else is_texts(v) for v in found)

    return test


def _is_hh(row: Row) -> bool:
    return _has("chosen", "rejected", texts=True)(row) and "prompt" not in row and bool(turns(row["chosen"]))


def _only_prompt(texts: bool) -> Callable[[Row], bool]:
    others = {"completion", "chosen", "rejected", "completions", "label", "answer", "response", "output"}
    return lambda row: _has("prompt", texts=texts)(row) and not others & row.keys()


_K = frozenset
SHAPES = (
    Shape("hh-rlhf", "hh-rlhf pairs of transcripts", "ranked", _is_hh, _hh_read, _hh_write, _K({"chosen", "rejected"}), pairs=True),
    Shape("trl-stepwise", "TRL stepwise supervision", "steps", _has("completions", "labels"), _steps_read, _steps_write,
          _K({"prompt", "completions", "labels"})),
    Shape("trl-unpaired-text", "TRL unpaired preference, texts", "labelled", _has("completion", "label", texts=True), _unpaired_read,
          partial(_unpaired_write, texts=True), _K({"prompt", "completion", "label"})),
    Shape("trl-unpaired", "TRL unpaired preference, messages", "labelled", _has("completion", "label", texts=False), _unpaired_read,
          partial(_unpaired_write, texts=False), _K({"prompt", "completion", "label", "tools"})),
    Shape("trl-preference-text", "TRL preference, texts", "ranked", _has("chosen", "rejected", texts=True), _preference_read,
          partial(_preference_write, texts=True), _K({"prompt", "chosen", "rejected"}), pairs=True),
    Shape("trl-preference", "TRL preference, messages", "ranked", lambda row: "prompt" in row and _has("chosen", "rejected", texts=False)(row),
          _preference_read, partial(_preference_write, texts=False), _K({"prompt", "chosen", "rejected", "tools"}), pairs=True),
    Shape("trl-preference-implicit", "TRL preference, the prompt inside", "ranked", _has("chosen", "rejected"), _implicit_read,
          _implicit_write, _K({"chosen", "rejected", "tools"}), pairs=True),
    Shape("trl-prompt-completion", "TRL prompt and completion, messages", "chat", _has("prompt", "completion", texts=False), _completion_read,
          _completion_write, _K({"prompt", "completion", "tools"})),
    Shape("trl-prompt-only", "TRL prompts, messages", "prompt", _only_prompt(False), _prompt_read, partial(_prompt_write, texts=False),
          _K({"prompt", "tools"})),
    Shape("trl-prompt-only-text", "TRL prompts, texts", "prompt", _only_prompt(True), _prompt_read, partial(_prompt_write, texts=True),
          _K({"prompt"})),
    Shape("text", "plain text (TRL language modelling)", "text", lambda row: isinstance(row.get("text"), str) and len(row) <= 3, _text_read,
          _text_write, _K({"text"})),
)  # fmt: skip
