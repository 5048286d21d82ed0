"""A prompt that shows worked examples before the question.

    FewShot(examples=[{"word": "hot", "opposite": "cold"}], template="{word} -> {opposite}", suffix="{word} ->", separator="\\n")

The examples' values are text: braces in them never become variables. The separator is a blank line, whatever the template looks like.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.prompt_values import PromptValue, StringPromptValue

from chains.errors import UsageError, nearest
from chains.prompt import Prompt, fill, variables_of


class FewShot(Prompt):
    """`prefix`, the first `shots` examples through `template`, then `suffix`, joined by `separator`."""

    shown: tuple[str, ...]
    """The examples as they stand in the prompt."""
    separator: str

    def __init__(
        self,
        examples: Sequence[Mapping[str, Any]],
        template: str,
        prefix: str = "",
        suffix: str = "",
        separator: str = "\n\n",
        shots: int | None = None,
        **fields: Any,
    ) -> None:
        count = _count(examples, shots)
        shown = tuple(_example(number, example, template) for number, example in enumerate(examples, 1))
        turns = (("text", prefix), ("text", suffix))
        super().__init__(turns=turns, shown=shown[:count], separator=separator, **fields)

    def format_prompt(self, **kwargs: Any) -> PromptValue:
        """Return the whole text."""
        values = self._values(kwargs)
        prefix, suffix = (fill(text, values) for _, text in self.turns)
        return StringPromptValue(text=self.separator.join(part for part in (prefix, *self.shown, suffix) if part))


def _count(examples: Sequence[Mapping[str, Any]], shots: int | None) -> int:
    if shots is None:
        return len(examples)
    if not 0 <= shots <= len(examples):
        raise UsageError(
            f"shots={shots} cannot be used; there are {len(examples)} examples, so give 0 to {len(examples)}"
        )
    return shots


def _example(number: int, example: Mapping[str, Any], template: str) -> str:
    for name in variables_of(template):
        if name not in example:
            had = ", ".join(example) or "nothing"
            raise UsageError(
                f"example {number} has no '{name}', which the template asks for; it has: {had}{nearest(name, example)}"
            )
    return fill(template, example)
