"""Conversations as one text, each turn after an empty line and its speaker's name, as in hh-rlhf; and such texts back into turns."""

import re

from tuning.data.findings import Row
from tuning.data.item import Losses
from tuning.data.shapes.shape import plain

_NAMES = {"user": "Human", "assistant": "Assistant", "system": "System", "developer": "System"}
_ROLES = {"Human": "user", "Assistant": "assistant", "System": "system"}
_TURN = re.compile(r"\n\n(Human|Assistant|System):")


def transcript(messages: list[Row], losses: Losses) -> str:
    """Return the turns as `\\n\\nHuman: …\\n\\nAssistant: …`; a tool's answer is left out."""
    parts = []
    for message in messages:
        name = _NAMES.get(message.get("role", ""))
        if name is None:
            losses["tools"] += 1
            continue
        if message["role"] == "developer":
            losses["developer"] += 1
        text = plain(message, losses)
        parts.append(f"\n\n{name}: {text}" if text else f"\n\n{name}:")
    return "".join(parts)


def turns(text: str) -> list[Row]:
    """Return the messages of a transcript; [] where the text is none."""
    pieces = _TURN.split(text)
    if pieces[0].strip() or len(pieces) < 3:
        return []
    return [
        {"role": _ROLES[name], "content": said.removeprefix(" ")}
        for name, said in zip(pieces[1::2], pieces[2::2], strict=True)
    ]
