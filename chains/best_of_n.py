"""The best of several samples by a score: a reward model's, a function's or a judge's.

best = BestOfN(chain, n=8, score="rm-1", temperature=0.8)
best.run("...")                                    # the best answer
best.invoke("...")["outcome"].pairs()              # the best against the rest, as rankings rows
"""

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig

from chains.candidates import Candidate, Outcome, ranked
from chains.judge import score as scored_by
from chains.of_samples import OfSamples
from chains.plan import Plan, each
from chains.runs.record import OpenRun
from chains.samples import Sample


class BestOfN(OfSamples):
    """Samples `chain` n times in one batch, scores all of them in one more, and returns the one with the highest score.

    `score` is a reward model (its name, or what load_scorer returns), a function (of the answer alone, or of inputs, `question` and
    `answer` by name), or a judge chain. An answer whose score cannot be read comes last; where none can, that is the error.
    """

    def __init__(
        self,
        chain: Any,
        n: int = 8,
        *,
        score: Any,
        seed: int | None = None,
        outcome_key: str = "outcome",
        **settings: Any,
    ) -> None:
        super().__init__(chain, n, seed=seed, outcome_key=outcome_key, settings=settings)
        self.scores = scored_by(score, self.chain, self._sampler.key)

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        drawn = yield from self._sampler.with_settings(kwargs).draw(inputs, configs, self.n)
        flat = [sample for samples in drawn for sample in samples]
        owners = [place for place, samples in enumerate(drawn) for _ in samples]
        made = yield self.scores.call([inputs[i] for i in owners], flat, [configs[i] for i in owners])
        numbers = each(self.scores.number, made)
        groups = [slice(i * self.n, (i + 1) * self.n) for i in range(len(inputs))]
        return each(lambda _, group: self._outputs(flat[group], numbers[group]), inputs, groups)

    def _outputs(self, samples: list[Any], numbers: list[Any]) -> dict[str, Any]:
        good: list[tuple[Sample, Any]] = [
            (s, None if isinstance(x, Exception) else x)
            for s, x in zip(samples, numbers, strict=True)
            if isinstance(s, Sample)
        ]
        if all(number is None for _, number in good):
            raise numbers[0]
        best = max((pair for pair in good if pair[1] is not None), key=lambda pair: pair[1])[0]
        candidates = [
            Candidate(s.outputs[self._sampler.key], s.text, 0, score=number, same_prompt=s.prompt == best.prompt)
            for s, number in good
        ]
        outcome = Outcome(best.prompt, ranked(candidates, lambda c: c.score), failed=len(samples) - len(good))
        return {**best.outputs, self.outcome_key: outcome}
