"""{{ item.… }} and {{ sample.… }} in a grader's texts: looked up, never executed.

`sample` has output_text, output_json (where the answer is JSON) and output_tools; `item` is the row of the data. A path goes down by
names and by numbers: `item.answers[0].text`.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

_HOLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_PATH = re.compile(r"\s*(item|sample)((?:\.[^.\[\]{}\s]+|\[\d+\])*)\s*")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
SAMPLE = ("output_text", "output_json", "output_tools")


class NoValue(Exception):
    """What is referred to is not there; `of_sample` where it is the answer that lacks it, not the row."""

    def __init__(self, message: str, of_sample: bool) -> None:
        super().__init__(message)
        self.of_sample = of_sample


def sample_of(text: str) -> dict[str, Any]:
    """Return the `sample` namespace of an answer."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {"output_text": text, "output_tools": []}
    return {"output_text": text, "output_json": value, "output_tools": []}


def checked(text: str) -> str:
    """Return `text`. Raises ValueError at a reference that can never be filled."""
    for hole in _HOLE.findall(text):
        _path(hole)
    return text


def filled(text: str, sample: dict[str, Any], item: Any) -> str:
    """Return `text` with what its references stand for. Raises NoValue where one stands for nothing."""
    return _HOLE.sub(lambda hole: _as_text(_found(hole[1], sample, item)), text)


def lacking(texts: Iterable[str], item: Any) -> Iterator[str]:
    """Yield what the texts want of the row `item`, and it does not have."""
    for hole in (hole for text in texts for hole in _HOLE.findall(text)):
        if _path(hole)[0] == "item":
            try:
                _found(hole, {}, item)
            except NoValue as error:
                yield str(error)


def _path(hole: str) -> tuple[str, list[str | int]]:
    found = _PATH.fullmatch(hole)
    steps = [name or int(number) for name, number in _STEP.findall(found[2])] if found else []
    if found and (found[1] == "item" or (steps and steps[0] in SAMPLE)):
        return found[1], steps
    raise ValueError(f"{{{{{hole}}}}} refers to nothing; use item.<field> or sample.{', sample.'.join(SAMPLE)}")


def _found(hole: str, sample: dict[str, Any], item: Any) -> Any:
    root, steps = _path(hole)
    value = item if root == "item" else sample
    for step in steps:
        value = _below(value, step)
        if value is None:
            raise NoValue(f"{{{{{hole.strip()}}}}} is not there", root == "sample")
    return value


def _below(value: Any, step: str | int) -> Any:
    """Return what is in `value` under a name or at a number, None where nothing is."""
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and str(step).isdecimal() and int(step) < len(value):
        return value[int(step)]
    return None


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
