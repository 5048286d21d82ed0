"""A model that grades an answer from 1 to 10, and what else may score one: a reward model by name, or a function.

    Judge(llm).run(question="2 + 2?", answer="4")      # 10.0
    score("rm-1"), score(len), score(Judge(llm))       # what BestOfN and Reflect take

The judge's prompt is Korean where the question or the answer is, else English.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig

from chains.bilingual import Bilingual
from chains.chain import Chain
from chains.choice import held_to
from chains.errors import ModelError, UsageError, WiringError, nearest
from chains.llm_chain import checked_llm
from chains.model_call import text_of
from chains.plan import Call, Plan, each
from chains.runs.record import OpenRun
from chains.samples import Sample
from chains.steps import Step, as_step

ANSWER, QUESTION = "answer", "question"
GRADES = [str(number) for number in range(1, 11)]
_NUMBER = re.compile(r"(?<![\d.,/-])(10|[1-9])(?:\.(\d+))?(?![\d,])")
_ASK = {
    "en": "Grade the answer to the question. {about}Reply with one whole number from 1 (useless) to 10 (perfect), nothing else.\n\n"
    "Question: {question}\n\nAnswer: {answer}\n\nGrade:",
    "ko": "질문에 대한 답을 채점하세요. {about}1(쓸모없음)부터 10(완벽함)까지의 정수 하나만 쓰세요.\n\n질문: {question}\n\n답: {answer}\n\n점수:",
}


class Judge(Chain):
    """Takes `question` and `answer`, makes `score`, a number from 1 to 10. `about` says what to look at, in a sentence."""

    def __init__(self, llm: Runnable[Any, Any], about: str = "") -> None:
        fixed = {"about": f"{about.strip()} " if about.strip() else ""}
        self._asking = Bilingual(llm=held_to(checked_llm(llm), GRADES), texts=_ASK, output_key="said", fixed=fixed)
        self.input_keys, self.output_keys = (QUESTION, ANSWER), ("score",)

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        said = yield Call(self._asking, inputs, configs, kwargs)
        return each(lambda made: {"score": grade(made["said"])}, said)


def grade(said: Any) -> float:
    """Return the first number from 1 to 10 in a judge's words. Raises ModelError where there is none."""
    if isinstance(said, int | float) and not isinstance(said, bool):
        return float(said)
    found = _NUMBER.search(str(said))
    value = float(found[0]) if found else math.nan
    if not 1 <= value <= 10:
        raise ModelError(f"the judge was to give a number from 1 to 10 and said {str(said)[:80]!r}")
    return value


class Scoring(Runnable[Any, float]):
    """Scores (inputs, Sample) pairs: `_many` returns a number, or an exception, for each."""

    def __init__(self, name: str, many: Callable[[list[Any]], list[Any]]) -> None:
        self.name = name
        self._many = many

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> float:
        (score,) = self.batch([input])
        if isinstance(score, Exception):
            raise score
        return score

    def batch(self, inputs: list[Any], config: Any = None, **kwargs: Any) -> list[Any]:
        """Return the score of each, or why it has none."""
        return self._many(inputs)


def score(by: Any, chain: Chain, key: str) -> "Scores":
    """Return what scores the answers of `chain`, which are under `key`, by a reward model, a function or a judge.

    Raises WiringError where a function or judge asks for something that is neither an input nor the answer.
    """
    if isinstance(by, str) or hasattr(by, "score_many"):
        return Scores(_by_reward_model(by), None, key)
    if not isinstance(by, Runnable) and not callable(by):
        raise UsageError(
            f"score is a {type(by).__name__}; give a reward model's name or load_scorer(...), a function or a judge chain"
        )
    step = as_step(by)
    named = (*chain.input_keys, *chain.optional_keys, *chain.output_keys, ANSWER, QUESTION)
    if isinstance(step, Step) and (len(step.input_keys) < 2 or step.takes.form == "value"):
        only = next(iter(step.input_keys), ANSWER)
        if only not in named or not step.output_keys:
            step = step.for_one_value()
    elif not step.output_keys:
        step = Step(by, step.takes, ("score",), apart=False) if isinstance(step, Step) else step
    for name in step.input_keys:
        if name not in named and len(step.input_keys) > 1:
            raise WiringError(f"the score asks for '{name}'; there are: {', '.join(named)}{nearest(name, named)}")
    return Scores(None, step, key)


class Scores:
    """How the candidates of a chain are scored: a step for each, or a reward model for all."""

    def __init__(self, model: Scoring | None, step: Chain | None, key: str) -> None:
        self._model, self._step, self._key = model, step, key

    def call(self, inputs: Sequence[Any], samples: Sequence[Any], configs: Sequence[RunnableConfig]) -> Call:
        """Return the call that scores each sample (an exception stays one)."""
        if self._model is not None:
            return Call(self._model, each(lambda *pair: pair, inputs, samples), configs)
        assert self._step is not None
        below: list[Any] = [{**config, "run_name": "score"} for config in configs]
        return Call(self._step, each(self._needed, inputs, samples), below)

    def number(self, made: Any) -> float:
        """Return the number in what the call made. Raises ModelError where it is none."""
        value = made if self._step is None else made[self._step._main_key()]
        value = value if isinstance(value, int | float) else grade(text_of(value))
        if math.isnan(value):
            raise ModelError("the score is not a number (NaN)")
        return float(value)

    def _needed(self, given: Mapping[str, Any], sample: Sample) -> Any:
        assert self._step is not None
        step, answer = self._step, sample.outputs[self._key]
        values = {QUESTION: question(given), ANSWER: answer, **given, **sample.outputs}
        if isinstance(step, Step) and step.takes.form == "everything":
            return values
        if len(step.input_keys) == 1 and step.input_keys[0] not in values:
            return {step.input_keys[0]: answer}
        return {name: values[name] for name in (*step.input_keys, *step.optional_keys) if name in values}


def question(given: Mapping[str, Any]) -> str:
    """Return a chain's inputs as one text: the only one's, or a line for each."""
    values = {key: value for key, value in given.items() if value not in (None, [], "")}
    return str(next(iter(values.values()))) if len(values) == 1 else "\n".join(f"{k}: {v}" for k, v in values.items())


def _by_reward_model(by: Any) -> Scoring:
    loaded: list[Any] = [] if isinstance(by, str) else [by]
    if isinstance(by, str):
        from chains.models import registry

        if registry.find(by).kind != "reward":
            raise UsageError(
                f"{by!r} is a chat model and scores nothing; use Judge(load_model({by!r})), or a reward model's name"
            )

    def many(pairs: list[Any]) -> list[Any]:
        if not loaded:
            from chains.models.scorer import load_scorer

            loaded.append(load_scorer(by))
        return loaded[0].score_many([_conversation(*pair) for pair in pairs])

    return Scoring(by if isinstance(by, str) else type(by).__name__, many)


def _conversation(given: Mapping[str, Any], sample: Sample) -> tuple[list[dict[str, Any]], str]:
    """Return the messages and the answer that a reward model reads: those of the model call, where there was one."""
    if sample.text is not None:
        return sample.prompt, sample.text
    return [{"role": "user", "content": question(given)}], str(next(iter(sample.outputs.values())))
