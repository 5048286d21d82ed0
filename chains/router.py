"""One of several chains, chosen for each input by a model, by a function, or by likeness.

    Router({"refund": refunds, "other": smalltalk}, by=llm)                                   # a model chooses a name
    Router({"refund": refunds, "other": smalltalk}, by=lambda question: "refund")             # a function does
    Router({"refund": Route(refunds, "money back"), "hours": Route(hours, "opening times")},
           by=LocalEmbeddings(), threshold=0.4, default="hours")                              # the nearest description, or example

It makes what the chosen chain makes, and `route`, its name.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseLanguageModel
from langchain_core.runnables import RunnableConfig

from chains.bilingual import Bilingual
from chains.chain import Chain
from chains.choice import Unchosen, chosen, held_to, listed
from chains.errors import UsageError, WiringError, nearest
from chains.plan import Call, Plan, each
from chains.runs.record import OpenRun
from chains.samples import answering
from chains.steps import Step, as_step, named
from chains.tokens import inner

_ASK = {
    "en": "Which of these does the text belong to?\n{the_routes}\n\nText: {text}\n\nReply with one of the names alone.",
    "ko": "다음 글은 이 가운데 어디에 속하나요?\n{the_routes}\n\n글: {text}\n\n이름 하나만 그대로 쓰세요.",
}


@dataclass(frozen=True)
class Route:
    """A chain, what it is for, and inputs that belong to it."""

    chain: Any
    about: str = ""
    examples: Sequence[str] = ()


_CHOICE = "chosen route"  # no identifier, so that no input can be called so


class Likeness:
    """The route whose description or examples are nearest to a text, by the cosine of their vectors."""

    def __init__(self, embeddings: Embeddings, routes: Mapping[str, Route], threshold: float) -> None:
        self._embeddings, self._threshold = embeddings, threshold
        texts = {name: [route.about, *route.examples] for name, route in routes.items()}
        self._texts = [(name, text) for name, some in texts.items() for text in (list(filter(None, some)) or [name])]

    def nearest(self, text: Any) -> str:
        """Return the route's name. Raises Unchosen where none is as near as the threshold, or the text's script is not known."""
        covers = getattr(self._embeddings, "covers", None)
        if covers is not None and not covers(str(text)):
            raise Unchosen(
                f"the embedding model does not read the language of {str(text)[:80]!r}; give a multilingual one"
            )
        vector = self._embeddings.embed_query(str(text))
        likeness, name = max((_cosine(vector, known), name) for name, known in self._known)
        if likeness < self._threshold:
            raise Unchosen(
                f"{str(text)[:80]!r} is like no route: {name} is nearest with {likeness:.2f}, below {self._threshold}"
            )
        return name

    @cached_property
    def _known(self) -> list[tuple[str, list[float]]]:
        vectors = self._embeddings.embed_documents([text for _, text in self._texts])
        return [(name, vector) for (name, _), vector in zip(self._texts, vectors, strict=True)]


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(map(operator.mul, a, b)) / (math.hypot(*a) * math.hypot(*b) or 1.0)


class Router(Chain):
    """Sends each input to one of `routes` (a step, or a Route, by name); those of a batch that go the same way go together.

    `by` is a chat model, a function or Runnable that returns a name, or Embeddings. `on` is the input that is looked at, by default the
    only one. `default` is taken where the choice is no route's name or, with Embeddings, the likeness is below `threshold` (a cosine);
    without it that is an error.
    """

    def __init__(
        self,
        routes: Mapping[str, Any],
        *,
        by: Any,
        on: str | None = None,
        default: str | None = None,
        threshold: float | None = None,
        output_key: str | None = None,
    ) -> None:
        if not routes:
            raise WiringError("routes is empty; give at least one, by name")
        given = {name: route if isinstance(route, Route) else Route(route) for name, route in routes.items()}
        self.routes = {name: answering(route.chain) for name, route in given.items()}
        self.default = default
        if default is not None and default not in given:
            raise WiringError(f"default {default!r} is no route; routes: {', '.join(given)}{nearest(default, given)}")
        self.input_keys = tuple(dict.fromkeys(key for chain in self.routes.values() for key in chain.input_keys))
        self.optional_keys = tuple(dict.fromkeys(key for chain in self.routes.values() for key in chain.optional_keys))
        self._key, self._made = self._outputs_of(output_key)
        self.output_keys = (*self._made, "route")
        self._chooser, self._read = self._choosing(by, given, on, threshold)

    def _outputs_of(self, output_key: str | None) -> tuple[str | None, tuple[str, ...]]:
        """Return the name that each chain's main output gets, or None where all chains make the same; and the names there are."""
        all_keys = {chain.output_keys for chain in self.routes.values()}
        if len(all_keys) == 1 and output_key is None:
            return None, next(iter(all_keys))
        name = output_key or "output"
        for chain in self.routes.values():
            chain._main_key()  # raises where there is none
        return name, (name,)

    def _choosing(
        self, by: Any, given: Mapping[str, Route], on: str | None, threshold: float | None
    ) -> tuple[Chain, Callable[[Any], str]]:
        """Return the step that chooses, and what reads a name out of its result."""
        if isinstance(by, Embeddings):
            likeness = Likeness(by, given, -1.0 if threshold is None else threshold)
            return named(likeness.nearest, _CHOICE, inputs=self._looked_at(on)), str
        if threshold is not None:
            raise UsageError("threshold is for Embeddings; a model or a function says by itself what fits nowhere")
        if isinstance(inner(by), BaseLanguageModel):
            texts = {language: text.replace("{text}", f"{{{self._looked_at(on)}}}") for language, text in _ASK.items()}
            about = listed({name: route.about for name, route in given.items()})
            names = list(given)
            asking = Bilingual(llm=held_to(by, names), texts=texts, output_key=_CHOICE, fixed={"the_routes": about})
            return asking, lambda said: chosen(said, names)
        step = as_step(by)
        step = step if step.output_keys and isinstance(by, Chain) else named(by, _CHOICE)
        for name in step.input_keys:
            if name not in self.input_keys:
                takes = ", ".join(self.input_keys)
                raise WiringError(f"`by` asks for '{name}'; the routes take: {takes}{nearest(name, self.input_keys)}")
        return step, str

    def _looked_at(self, on: str | None) -> str:
        if on is None and len(self.input_keys) == 1:
            return self.input_keys[0]
        if on not in self.input_keys:
            takes = ", ".join(self.input_keys) or "nothing"
            raise WiringError(
                f"on={on!r} is none of the inputs; they are: {takes}; say which one is looked at: on='...'"
            )
        return str(on)

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        below: list[Any] = [{**config, "run_name": "route"} for config in configs]
        said = yield Call(self._chooser, each(partial(_needed, self._chooser), inputs), below)
        names = [self._route(made) for made in said]
        results: list[Any] = list(names)
        for name, chain in self.routes.items():
            places = [place for place, other in enumerate(names) if other == name]
            if places:
                taken = [_needed(chain, inputs[place]) for place in places]
                there: list[Any] = [{**configs[place], "run_name": name} for place in places]
                made = yield Call(chain, taken, there, kwargs, shown=True)
                for place, result in zip(places, made, strict=True):
                    results[place] = result
        return each(self._outputs, names, results)

    def _route(self, made: Any) -> Any:
        """Return the name of the route, or why there is none."""
        if isinstance(made, Unchosen):
            return self.default or made
        if isinstance(made, Exception):
            return made
        try:
            name = self._read(made[self._chooser.output_keys[0]])
        except Unchosen as error:
            return self.default or error
        if name in self.routes:
            return name
        known = ", ".join(self.routes)
        return self.default or UsageError(
            f"the choice {name!r} is no route; routes: {known}{nearest(name, self.routes)}"
        )

    def _outputs(self, name: str, made: Mapping[str, Any]) -> dict[str, Any]:
        if self._key is None:
            return {**{key: made[key] for key in self._made}, "route": name}
        return {self._key: made[self.routes[name]._main_key()], "route": name}

    def _piece(self, piece: Any) -> dict[str, Any]:
        if self._key is None:
            return {key: piece[key] for key in self._made if key in piece}
        found = [piece[key] for key in {chain._main_key() for chain in self.routes.values()} if key in piece]
        return {self._key: found[0]} if found else {}

    def _main_key(self) -> str:
        return self._key or next(iter(self.routes.values()))._main_key()


def _needed(chain: Chain, given: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(chain, Step) and chain.takes.form == "everything":
        return dict(given)
    return {key: given[key] for key in (*chain.input_keys, *chain.optional_keys) if key in given}
