"""An answer criticised and rewritten, kept only where the rewrite scores higher.

    Reflect(chain, llm=llm, rounds=2).run("...")
    Reflect(chain, critic=critic, rewrite=rewrite, score="rm-1")

The answer to begin with is scored like every rewrite, so what is returned never scores lower than it. The built-in prompts are Korean
where the question or the answer is, else English.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import merge_configs

from chains.bilingual import Bilingual
from chains.candidates import Candidate, Outcome, ranked
from chains.chain import Chain
from chains.errors import UsageError, WiringError, nearest
from chains.judge import ANSWER, QUESTION, Judge, question
from chains.judge import score as scored_by
from chains.llm_chain import LLMChain
from chains.plan import Call, Plan, each
from chains.runs.record import OpenRun
from chains.samples import Heard, Sample, Sampler, answering, llm_of, taken
from chains.steps import as_step, named

CRITIQUE = "critique"
NOTHING = {"en": "NOTHING TO CHANGE", "ko": "고칠 것 없음"}
_CRITIC = {
    "en": "Question: {question}\n\nAnswer: {answer}\n\nSay in a few short points what is wrong or missing in the answer. "
    f"If it is right and complete, reply only: {NOTHING['en']}",
    "ko": "질문: {question}\n\n답: {answer}\n\n이 답에서 틀렸거나 빠진 것을 짧게 적으세요. "
    f"맞고 빠진 것이 없으면 이렇게만 쓰세요: {NOTHING['ko']}",
}
_REWRITE = {
    "en": "Question: {question}\n\nAnswer: {answer}\n\nWhat to mend: {critique}\n\nWrite the whole answer anew, mended. Write the answer alone.",
    "ko": "질문: {question}\n\n답: {answer}\n\n고칠 점: {critique}\n\n고친 답 전체를 새로 쓰세요. 답만 쓰세요.",
}


@dataclass
class Draft:
    """How far one question has come."""

    samples: list[Sample]
    scores: list[float]
    critiques: dict[int, str] = field(default_factory=dict)
    """What was said of the sample at a place."""
    failed: int = 0
    stopped: Literal["all", "approved"] = "all"

    @property
    def best(self) -> int:
        """The place of the highest score; of equals the earliest."""
        return self.scores.index(max(self.scores))


class Reflect(Chain):
    """Answers with `chain`; then, `rounds` times, `critic` says what is wrong with the best answer so far and `rewrite` mends it.

    `critic` takes `question`, `answer` and the chain's inputs, by name, and `rewrite` also `critique`; both, and a `score` (see BestOfN)
    are made of `llm`, by default the chain's own model, where they are not given. A critic that says NOTHING TO CHANGE (고칠 것 없음), or
    nothing, ends it. A rewrite that fails or cannot be scored is dropped.
    """

    def __init__(
        self,
        chain: Any,
        *,
        llm: Runnable[Any, Any] | None = None,
        critic: Any = None,
        rewrite: Any = None,
        score: Any = None,
        rounds: int = 1,
        outcome_key: str = "outcome",
    ) -> None:
        if rounds < 1:
            raise UsageError(f"rounds={rounds} cannot be used; give at least 1")
        self.rounds = rounds
        self.chain = answering(chain)
        if len(self.chain.output_keys) != 1:
            made = ", ".join(self.chain.output_keys)
            raise WiringError(
                f"Reflect rewrites one output, and the chain makes {made}; keep the first: named(chain, 'answer')"
            )
        self._sampler = Sampler(self.chain, self.chain._main_key())
        self.outcome_key = outcome_key
        self.input_keys, self.optional_keys = self.chain.input_keys, self.chain.optional_keys
        self.output_keys = (*self.chain.output_keys, outcome_key)
        taken(outcome_key, (*self.input_keys, *self.optional_keys, *self.chain.output_keys))
        names = (*self.input_keys, *self.optional_keys, *self.chain.output_keys, QUESTION, ANSWER)
        model = llm or llm_of(self.chain)
        self.critic = _step(critic, CRITIQUE, names) if critic is not None else _asking(model, _CRITIC, CRITIQUE)
        self.rewrite = _step(rewrite, "rewrite", (*names, CRITIQUE)) if rewrite is not None else self._rewriting(model)
        self.scores = scored_by(score if score is not None else Judge(_known(model)), self.chain, self._sampler.key)

    def _rewriting(self, model: Any) -> Chain:
        return _asking(
            model, _REWRITE, "rewrite", self.chain.output_parser if isinstance(self.chain, LLMChain) else None
        )

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        first = yield from self._sampler.with_settings(kwargs).draw(inputs, configs, 1)
        samples = [one for (one,) in first]
        made = yield self.scores.call(inputs, samples, configs)
        drafts = each(lambda sample, number: Draft([sample], [number]), samples, each(self.scores.number, made))
        for _ in range(self.rounds):
            going = [i for i, draft in enumerate(drafts) if isinstance(draft, Draft) and draft.stopped == "all"]
            if not going:
                break
            yield from self._round([inputs[i] for i in going], [configs[i] for i in going], [drafts[i] for i in going])
        return each(self._outputs, drafts)

    def _round(self, inputs: list[Any], configs: list[RunnableConfig], drafts: list[Draft]) -> Plan:
        said = yield Call(
            self.critic, each(partial(self._values, self.critic), inputs, drafts), _called(configs, CRITIQUE)
        )
        left = [
            place for place, (draft, made) in enumerate(zip(drafts, said, strict=True)) if self._criticised(draft, made)
        ]
        inputs, drafts = [inputs[i] for i in left], [drafts[i] for i in left]
        ears = [Heard() for _ in left]
        below = [merge_configs(configs[i], {"callbacks": [ear]}) for i, ear in zip(left, ears, strict=True)]
        asked = each(partial(self._values, self.rewrite), inputs, drafts)
        made = yield Call(self.rewrite, asked, _called(below, "rewrite"))
        rewrites = each(self._rewritten, made, drafts, ears)
        scored = yield self.scores.call(inputs, rewrites, [configs[i] for i in left])
        for draft, sample, number in zip(drafts, rewrites, each(self.scores.number, scored), strict=True):
            if isinstance(number, Exception):
                draft.failed += 1
            else:
                draft.samples.append(sample)
                draft.scores.append(number)
        return []

    def _criticised(self, draft: Draft, made: Any) -> bool:
        """Keep what the critic said, and say whether there is something to mend."""
        if isinstance(made, Exception):
            draft.failed += 1
            return False
        critique = str(made[self.critic._main_key()]).strip()
        draft.critiques[draft.best] = critique
        if not critique or any(critique.upper().startswith(words) for words in NOTHING.values()):
            draft.stopped = "approved"
        return draft.stopped == "all"

    def _values(self, step: Chain, given: Mapping[str, Any], draft: Draft) -> dict[str, Any]:
        best = draft.samples[draft.best].outputs
        critique = draft.critiques.get(draft.best, "")
        values = {QUESTION: question(given), ANSWER: best[self._sampler.key], CRITIQUE: critique, **given, **best}
        return {name: values[name] for name in (*step.input_keys, *step.optional_keys) if name in values}

    def _rewritten(self, made: Mapping[str, Any], draft: Draft, heard: Heard) -> Sample:
        value = made[self.rewrite._main_key()]
        text = heard.said if heard.said is not None or not isinstance(value, str) else value
        return Sample({self._sampler.key: value}, draft.samples[0].prompt, text)

    def _outputs(self, draft: Draft) -> dict[str, Any]:
        candidates = [
            Candidate(
                sample.outputs[self._sampler.key], sample.text, 0, score=number, critique=draft.critiques.get(place)
            )
            for place, (sample, number) in enumerate(zip(draft.samples, draft.scores, strict=True))
        ]
        best = draft.samples[draft.best]
        outcome = Outcome(best.prompt, ranked(candidates, lambda c: c.score), draft.failed, stopped=draft.stopped)
        return {**best.outputs, self.outcome_key: outcome}

    def _main_key(self) -> str:
        return self._sampler.key


def _asking(llm: Any, texts: Mapping[str, str], key: str, parser: Any = None) -> Chain:
    return Bilingual(llm=_known(llm), texts=texts, output_key=key, output_parser=parser)


def _known(llm: Any) -> Any:
    if llm is None:
        raise UsageError("Reflect cannot see the chain's model; give llm=…, or critic, rewrite and score")
    return llm


def _step(step: Any, key: str, names: tuple[str, ...]) -> Chain:
    """Return a critic or rewriter as a chain, its wiring checked."""
    chain = as_step(step)
    chain = chain if chain.output_keys else named(step, key)
    for name in chain.input_keys:
        if name not in names:
            raise WiringError(f"the {key} step asks for '{name}'; there are: {', '.join(names)}{nearest(name, names)}")
    return chain


def _called(configs: list[RunnableConfig], name: str) -> list[RunnableConfig]:
    return [{**config, "run_name": name} for config in configs]
