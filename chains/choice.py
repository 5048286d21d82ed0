"""A model asked to choose one of several names.

A local model is held to the names; any other answers freely, and the name is found in what it said.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import Runnable

from chains.errors import ModelError
from chains.tokens import inner


class Unchosen(ModelError):
    """What was said is none of the names, or more than one."""


def held_to(llm: Runnable[Any, Any], names: Sequence[str]) -> Runnable[Any, Any]:
    """Return `llm`; a local one says nothing but one of `names`, the likeliest."""
    from chains.models.local_chat import LocalChat

    if not isinstance(inner(llm), LocalChat):
        return llm
    from chains.models.constraint import Constraint

    return llm.bind(constraint=Constraint.choice(names), temperature=0)


def chosen(said: Any, names: Sequence[str]) -> str:
    """Return the name that `said` is, or the only one that is in it as a word, whatever the case.

    Raises Unchosen where it is none of them, or more than one.
    """
    text = str(said).strip()
    exact = [name for name in names if name.casefold() == text.strip("\"'`*.。 ").casefold()]
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    said_too = {match.casefold() for match in re.findall(rf"(?<!\w)(?:{longest_first})(?!\w)", text, re.IGNORECASE)}
    found = exact or [name for name in names if name.casefold() in said_too]
    if len(found) != 1:
        raise Unchosen(f"the model was to choose one of {', '.join(names)} and said {text[:80]!r}")
    return found[0]


def listed(names: Mapping[str, str]) -> str:
    """Return the names with what they are about, a line each."""
    return "\n".join(f"- {name}: {about}" if about else f"- {name}" for name, about in names.items())
