"""Several answers of one chain to the same inputs, in one batch, each with the prompt and the words of its last model call.

Where a seed is given, or the model has one, sample i is drawn with seed + i: with one seed for all, all would be the same.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.config import get_config_list, merge_configs

from chains.chain import Chain
from chains.errors import UsageError, WiringError
from chains.llm_chain import LLMChain
from chains.model_call import chat_rows
from chains.plan import Call, each
from chains.prompt import Prompt
from chains.retrieval_chain import RetrievalChain
from chains.steps import Step, as_step, named


@dataclass(frozen=True)
class Sample:
    """One answer: the chain's outputs, and the prompt and words of its last call of a chat model (none where it called none)."""

    outputs: dict[str, Any]
    prompt: list[dict[str, Any]]
    text: str | None


@dataclass(frozen=True)
class Sampler:
    """A chain to sample, and how: `settings` go to each call, `seed` (sample i gets seed + i) where there is one."""

    chain: Chain
    key: str
    """The output that is the answer."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None

    def with_settings(self, settings: Mapping[str, Any]) -> "Sampler":
        """Return this sampler with further settings, those of one call."""
        others = {key: value for key, value in settings.items() if key != "seed"}
        return replace(self, settings={**self.settings, **others}, seed=settings.get("seed", self.seed))

    def draw(
        self, inputs: Sequence[Any], configs: Sequence[RunnableConfig], count: int, first: int = 0
    ) -> Generator[Call, list[Any], list[list[Any]]]:
        """Return for each input `count` Samples or exceptions, from one call; `first` is the number of the first of them."""
        numbers = range(first, first + count)
        heard = [[Heard() for _ in numbers] for _ in inputs]
        many = [value for value in inputs for _ in numbers]
        below = [
            merge_configs(config, {"run_name": f"sample {number + 1}", "callbacks": [ear]})
            for config, ears in zip(configs, heard, strict=True)
            for number, ear in zip(numbers, ears, strict=True)
        ]
        if self.seed is None:
            made = yield Call(self.chain, many, below, self.settings)
        else:
            seeds = [self.seed + number for _ in inputs for number in numbers]
            made = yield Call(Seeded(self.chain), each(lambda *pair: pair, many, seeds), below, self.settings)
        flat = each(self._sample, made, [ear for ears in heard for ear in ears])
        return [flat[place : place + count] for place in range(0, len(flat), count)]

    def _sample(self, made: Mapping[str, Any], heard: "Heard") -> Sample:
        return Sample({key: made[key] for key in self.chain.output_keys}, chat_rows(heard.asked), heard.said)


def sampler(chain: Any, seed: int | None, settings: Mapping[str, Any]) -> Sampler:
    """Return how `chain` (a chain, a Runnable, a function, or a chat model, which is asked {question}) is sampled.

    Raises UsageError where the samples would all be the same, or where a seed would not reach the model.
    """
    whole = answering(chain)
    llm = llm_of(whole)
    has = settings_of(llm)
    if {**has, **settings}.get("temperature") == 0:
        raise UsageError("temperature=0 gives the same answer every time; give a temperature above 0, such as 0.8")
    if seed is None:
        seed = settings.get("seed", has.get("seed"))
    elif "seed" not in has:
        raise UsageError(
            f"seed={seed} does not reach a model through {whole.get_name()}; give an LLMChain whose model takes a seed, or no seed"
        )
    return Sampler(whole, whole._main_key(), {k: v for k, v in settings.items() if k != "seed"}, seed)


def answering(chain: Any) -> Chain:
    """Return `chain` as a chain; a chat model takes `question`, and what has no name for its output gets `answer`."""
    if isinstance(chain, BaseChatModel):
        return LLMChain(llm=chain, prompt=Prompt.chat(user="{question}"), output_key="answer")
    step = as_step(chain)
    return step if step.output_keys else named(chain, "answer")


def llm_of(chain: Chain) -> Any:
    """Return the model to which a chain's call settings go, or None where that cannot be seen."""
    if isinstance(chain, LLMChain):
        return chain.llm
    if isinstance(chain, RetrievalChain):
        return chain._answering.llm
    return chain.inner if isinstance(chain, Step) and isinstance(chain.inner, BaseChatModel) else None


def settings_of(llm: Any) -> dict[str, Any]:
    """Return a model's settings, those of its `.bind` above its own."""
    given: dict[str, Any] = {}
    while isinstance(llm, RunnableBindingBase):
        given = {**llm.kwargs, **given}
        llm = llm.bound
    return {**vars(llm), **given} if isinstance(llm, BaseChatModel) else given


def taken(name: str, keys: Sequence[str]) -> None:
    """Raise WiringError where the key for the outcome is already one of the chain's."""
    if name in keys:
        raise WiringError(
            f"outcome_key {name!r} is also a key of the chain: {', '.join(keys)}; choose another outcome_key"
        )


class Seeded(Runnable[Any, Any]):
    """Calls a chain on (input, seed) pairs, all at once, each with its own seed."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.name = chain.get_name()

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        value, seed = input
        return self.chain.invoke(value, config, **{**kwargs, "seed": seed})

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        value, seed = input
        return await self.chain.ainvoke(value, config, **{**kwargs, "seed": seed})

    def batch(self, inputs: list[Any], config: Any = None, **kwargs: Any) -> list[Any]:
        """Return an answer for each pair; as many threads as pairs, so that a local model takes them together."""
        configs = get_config_list(config, len(inputs))
        wide = [merge_configs({"max_concurrency": len(inputs)}, config) for config in configs]
        return super().batch(inputs, wide, **kwargs)


class Heard(BaseCallbackHandler):
    """The messages and the words of the last chat model call that it hears."""

    run_inline = True
    ignore_chain = True
    ignore_retriever = True

    def __init__(self) -> None:
        self._asked: dict[UUID, list[BaseMessage]] = {}
        self.asked: list[BaseMessage] = []
        self.said: str | None = None

    def on_chat_model_start(
        self, serialized: Any, messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Keep the prompt of a call that begins."""
        self._asked[run_id] = messages[0]

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Keep the words of a call that ended, with its prompt."""
        if run_id in self._asked:
            self.asked = self._asked.pop(run_id)
            self.said = response.generations[0][0].text
