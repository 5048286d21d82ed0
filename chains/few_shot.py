"""A prompt that shows worked examples before the question.

    FewShot(examples=[{"word": "hot", "opposite": "cold"}], template="{word} -> {opposite}", suffix="{word} ->", separator="\\n")
    FewShot(examples, template, suffix=suffix, select="similar", shots=3)      # the three most like the question
    prompt.with_shots(0)                                                        # the same prompt, zero-shot

The examples' values are text: braces in them never become variables. The separator is a blank line, whatever the template looks like.
How examples are chosen (`select`):

- None: the first `shots` of them, all by default;
- "similar": those whose fields are most like the question's, by embedding; "mmr": alike, but not each other's likes (maximal marginal
  relevance); 4 unless `shots` says otherwise, the most alike last, next to the question. `embeddings` are LocalEmbeddings unless given; for
  languages those do not read, character pairs (see chains/bigrams.py);
- "length": as many of the first ones as fit into `length`, counted by `count` (words by default), the question and the rest included;
- any langchain_core example selector.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.example_selectors import MaxMarginalRelevanceExampleSelector, SemanticSimilarityExampleSelector
from langchain_core.example_selectors.base import BaseExampleSelector
from langchain_core.prompt_values import PromptValue, StringPromptValue
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import PrivateAttr

from chains.bigrams import Bigrams
from chains.errors import UsageError, nearest
from chains.models.embeddings import LocalEmbeddings
from chains.prompt import Prompt, fill, variables_of

_WAYS = ("similar", "mmr", "length")
_SIMILAR: dict[str, Any] = {"similar": SemanticSimilarityExampleSelector, "mmr": MaxMarginalRelevanceExampleSelector}


class FewShot(Prompt):
    """`prefix`, the chosen examples through `template`, then `suffix`, joined by `separator`."""

    examples: tuple[Mapping[str, Any], ...]
    template: str
    separator: str
    shots: int | None
    select: Any
    embeddings: Any
    length: int | None
    count: Callable[[str], int]

    _index: tuple[int | None, BaseExampleSelector] | None = PrivateAttr(None)

    def __init__(
        self,
        examples: Sequence[Mapping[str, Any]],
        template: str,
        prefix: str = "",
        suffix: str = "",
        separator: str = "\n\n",
        shots: int | None = None,
        select: str | BaseExampleSelector | None = None,
        embeddings: Embeddings | None = None,
        length: int | None = None,
        count: Callable[[str], int] = lambda text: len(text.split()),
        **fields: Any,
    ) -> None:
        _check_way(select, embeddings, length)
        _check_shots(examples, shots)
        for number, example in enumerate(examples, 1):
            _check_example(f"example {number}", example, template)
        how = {"shots": shots, "select": select, "embeddings": embeddings, "length": length, "count": count}
        turns = (("text", prefix), ("text", suffix))
        super().__init__(turns=turns, examples=tuple(examples), template=template, separator=separator, **how, **fields)
        if select in _SIMILAR and not self._compared():
            fields_of = ", ".join(examples[0]) if examples else "nothing"
            raise UsageError(
                f"select={select!r} compares the prompt's variables with the examples' fields, and none is both; the prompt has "
                f"{', '.join(self.input_variables) or 'none'}, the examples {fields_of}"
            )

    def with_shots(self, shots: int | None) -> "FewShot":
        """Return this prompt with another number of examples: 0 is zero-shot, 1 one-shot, None all that there are."""
        _check_shots(self.examples, shots)
        return self.model_copy(update={"shots": shots})

    def format_prompt(self, **kwargs: Any) -> PromptValue:
        """Return the whole text."""
        values = self._values(kwargs)
        prefix, suffix = (fill(text, values) for _, text in self.turns)
        return StringPromptValue(text=self._joined([prefix, *self._shown(values, prefix, suffix), suffix]))

    def _joined(self, parts: Sequence[str]) -> str:
        return self.separator.join(part for part in parts if part)

    def _shown(self, values: Mapping[str, Any], prefix: str, suffix: str) -> list[str]:
        """Return the examples for these values, as they stand in the prompt."""
        if self.shots == 0 or not self.examples:
            return []
        if self.select is None or self.select == "length":
            first = [fill(self.template, example) for example in self.examples[: self.shots]]
            return first if self.select is None else self._that_fit(first, prefix, suffix)
        chosen = self._selector().select_examples({name: str(value) for name, value in values.items()})
        for example in chosen:
            _check_example("an example that the selector chose", example, self.template)
        if isinstance(self.select, str):
            chosen = chosen[::-1]
        return [fill(self.template, example) for example in chosen[: self.shots]]

    def _that_fit(self, texts: list[str], prefix: str, suffix: str) -> list[str]:
        shown: list[str] = []
        for text in texts:
            if self.count(self._joined([prefix, *shown, text, suffix])) > (self.length or 0):
                break
            shown.append(text)
        return shown

    def _compared(self) -> list[str]:
        """Return the variables that are fields of every example."""
        return [name for name in self.input_variables if all(name in example for example in self.examples)]

    def _selector(self) -> BaseExampleSelector:
        if isinstance(self.select, BaseExampleSelector):
            return self.select
        if self._index is None or self._index[0] != self.shots:
            self._index = (self.shots, self._by_likeness())
        return self._index[1]

    def _by_likeness(self) -> BaseExampleSelector:
        keys = self._compared()
        texts = [{name: str(value) for name, value in example.items()} for example in self.examples]
        embeddings = self.embeddings or LocalEmbeddings()
        if self.embeddings is None and not all(
            embeddings.covers(" ".join(text[key] for key in keys)) for text in texts
        ):
            embeddings = Bigrams()
        k = min(4, len(texts)) if self.shots is None else self.shots
        return _SIMILAR[self.select].from_examples(texts, embeddings, InMemoryVectorStore, k=k, input_keys=keys)


def _check_way(select: Any, embeddings: Any, length: int | None) -> None:
    if isinstance(select, str) and select not in _WAYS:
        raise UsageError(f"select={select!r} is unknown; use {', '.join(map(repr, _WAYS))}{nearest(select, _WAYS)}")
    if select is not None and not isinstance(select, str | BaseExampleSelector):
        raise UsageError(
            f"select is a {type(select).__name__}; give {', '.join(map(repr, _WAYS))} or a langchain_core selector"
        )
    if (length is None) == (select == "length"):
        raise UsageError("select='length' and length go together: give both, such as select='length', length=500")
    if embeddings is not None and select not in _SIMILAR:
        raise UsageError("embeddings are for select='similar' or 'mmr'")


def _check_shots(examples: Sequence[Mapping[str, Any]], shots: int | None) -> None:
    if shots is not None and not 0 <= shots <= len(examples):
        raise UsageError(
            f"shots={shots} cannot be used; there are {len(examples)} examples, so give 0 to {len(examples)}"
        )


def _check_example(which: str, example: Mapping[str, Any], template: str) -> None:
    for name in variables_of(template):
        if name not in example:
            had = ", ".join(example) or "nothing"
            raise UsageError(
                f"{which} has no '{name}', which the template asks for; it has: {had}{nearest(name, example)}"
            )
