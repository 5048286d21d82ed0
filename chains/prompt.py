"""Prompts whose braces are text: only `{identifier}` is a variable, so JSON and code need no escaping.

    Prompt('Answer as {"mood": ...}. Text: {text}')
    Prompt.chat(system="You are brief.", history="history", user="{question}")

`{{name}}` writes a literal `{name}`. Values go in as they are: braces inside them are not read again, and nothing of a value but
its text is looked at. A Prompt is a langchain_core template; langchain_core's own templates work wherever one is taken.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompt_values import ChatPromptValue, PromptValue, StringPromptValue
from langchain_core.prompts import BasePromptTemplate

from chains.errors import UsageError, nearest

_GROUP = re.compile(r"\{\{([^\W\d]\w*)\}\}|\{([^\W\d]\w*)\}")
_MESSAGES = {"text": HumanMessage, "system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}


def variables_of(template: str) -> list[str]:
    """Return the names of the `{identifier}` groups of `template`, each once, in order."""
    return list(dict.fromkeys(match[2] for match in _GROUP.finditer(template) if match[2]))


def fill(template: str, values: Mapping[str, Any]) -> str:
    """Return `template` with each variable replaced by the text of its value."""
    first, rest = _taken_apart(template)
    return "".join([first, *(text for name, after in rest for text in (str(values[name]), after))])


@lru_cache(maxsize=1024)
def _taken_apart(template: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the text before the first variable, and each variable with the text after it."""
    texts, names, end = [""], list[str](), 0
    for match in _GROUP.finditer(template):
        texts[-1] += template[end : match.start()] + (f"{{{match[1]}}}" if match[1] else "")
        end = match.end()
        if match[2]:
            names.append(match[2])
            texts.append("")
    texts[-1] += template[end:]
    return texts[0], tuple(zip(names, texts[1:], strict=True))


def missing_variable(owner: str, needed: Iterable[str], given: Collection[str]) -> UsageError | None:
    """Return the error for the first of `needed` that is not `given`, or None where none is missing."""
    for name in needed:
        if name not in given:
            near = difflib.get_close_matches(name, list(given), n=1)
            hint = f"; is {near[0]!r} meant to be {name!r}?" if near else ""
            return UsageError(f"{owner} needs '{name}'; given: {', '.join(given) or 'nothing'}{hint}")
    return None


def unused_variable(owner: str, known: Sequence[str], given: Collection[str]) -> UsageError | None:
    """Return the error for the first of `given` that is not `known`, or None where all are."""
    for name in given:
        if name not in known:
            return UsageError(
                f"{owner} does not use '{name}'; its variables: {', '.join(known) or 'none'}{nearest(name, known)}"
            )
    return None


class Prompt(BasePromptTemplate[str]):
    """A text, or with `Prompt.chat` a conversation, with `{identifier}` variables."""

    turns: tuple[tuple[str, str], ...]
    """(role, template) pairs; role is 'text' (the only turn), 'system', 'user', 'assistant', or 'history' with a variable's name."""

    def __init__(self, template: str | None = None, /, **fields: Any) -> None:
        if template is not None:
            if not isinstance(template, str):
                raise UsageError(
                    f"a prompt's template is a str, not {type(template).__name__}; for turns use Prompt.chat"
                )
            fields["turns"] = (("text", template),)
        taken = fields.get("partial_variables", {})
        fields.setdefault("input_variables", [name for name in _variables(fields["turns"]) if name not in taken])
        fields.setdefault("optional_variables", [name for role, name in fields["turns"] if role == "history"])
        super().__init__(**fields)

    @classmethod
    def chat(cls, *, user: str, system: str | None = None, history: str | None = None) -> "Prompt":
        """Return a prompt of turns: the system's, the earlier ones in the variable named `history` (may be left out), the user's."""
        turns = [("system", system), ("history", history), ("user", user)]
        return cls(turns=tuple((role, text) for role, text in turns if text is not None))

    def partial(self, **values: str | Callable[[], str]) -> "Prompt":
        """Return this prompt with some of its variables filled."""
        unknown = [name for name in values if name not in self.input_variables]
        if unknown:
            known = ", ".join(self.input_variables)
            raise UsageError(
                f"the prompt has no '{unknown[0]}'; its variables: {known}{nearest(unknown[0], self.input_variables)}"
            )
        left = [name for name in self.input_variables if name not in values]
        return self.model_copy(
            update={"input_variables": left, "partial_variables": {**self.partial_variables, **values}}
        )

    def format(self, **kwargs: Any) -> str:
        """Return the prompt as one text: a conversation as `role: text` lines."""
        return self.format_prompt(**kwargs).to_string()

    def format_prompt(self, **kwargs: Any) -> PromptValue:
        """Return what a model is given: a text for a text prompt, messages for a chat one."""
        if self.turns[0][0] == "text":
            return StringPromptValue(text=fill(self.turns[0][1], self._values(kwargs)))
        return ChatPromptValue(messages=self.messages(kwargs))

    def messages(self, given: Mapping[str, Any]) -> list[BaseMessage]:
        """Return the messages that a chat model is given: those of format_prompt's value."""
        values = self._values(given)
        return [message for role, text in self.turns for message in _said(role, text, values)]

    def _values(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        if error := missing_variable("the prompt", self.input_variables, given):
            raise error
        if error := unused_variable("the prompt", self._known(), given):
            raise error
        return self._merge_partial_and_user_variables(**given) if self.partial_variables else given

    def _validate_input(self, inner_input: Any) -> dict[str, Any]:
        if not isinstance(inner_input, dict) and len(self.input_variables) != 1:
            raise UsageError(
                f"the prompt has the variables {', '.join(self.input_variables) or '(none)'}; give a dict of them"
            )
        values = inner_input if isinstance(inner_input, dict) else {self.input_variables[0]: inner_input}
        known = self._known()
        values = {
            name: value for name, value in values.items() if name in known
        }  # in a pipe other steps' values pass by
        if error := missing_variable(
            "the prompt", self.input_variables, inner_input if isinstance(inner_input, dict) else values
        ):
            raise error
        return values

    def _known(self) -> list[str]:
        return [*self.input_variables, *self.optional_variables, *self.partial_variables]

    @property
    def _prompt_type(self) -> str:
        return "chaintune"

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Say that langchain_core's loader cannot rebuild this class."""
        return False


def _variables(turns: Iterable[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for role, text in turns if role != "history" for name in variables_of(text)))


def _said(role: str, text: str, values: Mapping[str, Any]) -> list[BaseMessage]:
    if role == "history":
        return list(values.get(text) or [])
    return [_MESSAGES[role](content=fill(text, values))]
