"""The answer that most of several samples agree on (self-consistency, arXiv 2203.11171), with how sure the vote is.

    vote = SelfConsistency(chain, n=16, key=last_number, temperature=0.8, stop_when=0.95)
    vote.run("...")                                # the winner
    vote.invoke("...")["outcome"].confidence       # and .votes, .pairs()

With `stop_when` the samples come in waves, and a vote ends early when one of two things holds:
- the winner's lead is larger than the number of samples still to come (nothing can change);
- the posterior that the first answer is more common than the second passes `stop_when`: with v1 and v2 votes and an even prior,
  P(p > 1/2), p ~ Beta(v1 + 1, v2 + 1) (the Beta criterion of Adaptive-Consistency, arXiv 2305.11860).
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

from chains.candidates import Candidate, Outcome
from chains.errors import ModelError, UsageError
from chains.measures import normalise
from chains.of_samples import OfSamples
from chains.plan import Plan, each
from chains.runs.record import OpenRun, to_json
from chains.samples import Sample

_NUMBER = re.compile(r"[-−]?\d+(?:,\d{3})*(?:\.\d+)?(?![\d])")
Key = Callable[[Any], Any]


def last_number(answer: Any) -> float | None:
    """Return the last number in an answer's text, or None, which votes for nothing. "1,200 won" is 1200."""
    found = _NUMBER.findall(str(answer))
    return float(found[-1].replace(",", "").replace("−", "-")) if found else None


def same_text(answer: Any) -> Any:
    """Return what makes two answers the same: a text but for case, spaces and its end; another value by its JSON."""
    if isinstance(answer, str):
        return normalise(answer) or None
    value = answer.model_dump(mode="json") if isinstance(answer, BaseModel) else answer
    return json.dumps(json.loads(to_json(value)), sort_keys=True, ensure_ascii=False)


def confidence(first: int, second: int) -> float:
    """Return P(p > 1/2) for p ~ Beta(first + 1, second + 1): how sure it is that `first` votes beat `second`.

    For whole numbers it is the chance of at most `first` heads in `first + second + 1` tosses of a fair coin.
    """
    tosses = first + second + 1
    return sum(math.comb(tosses, heads) for heads in range(first + 1)) / 2**tosses


class SelfConsistency(OfSamples):
    """Samples `chain` n times and returns the answer with the most votes; among equals, the one that came first.

    `key` says what an answer votes for (None: nothing). It makes what the chain makes, and `outcome`. `settings` (temperature and the
    like) go to every call. Without `stop_when` all samples are one batch; with it they come in waves of `wave` (a quarter, at least 4).
    """

    def __init__(
        self,
        chain: Any,
        n: int = 8,
        key: Key = same_text,
        *,
        stop_when: float | None = None,
        wave: int | None = None,
        seed: int | None = None,
        outcome_key: str = "outcome",
        **settings: Any,
    ) -> None:
        super().__init__(chain, n, seed=seed, outcome_key=outcome_key, settings=settings)
        _check(stop_when, wave)
        self.key, self.stop_when = key, stop_when
        self.wave = wave or (n if stop_when is None else max(4, math.ceil(n / 4)))

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        drawn = self._sampler.with_settings(kwargs)
        polls = each(lambda _: Poll(self.key, self._sampler.key), inputs)
        asked = 0
        while asked < self.n:
            size = min(self.wave, self.n - asked)
            left = [place for place, poll in enumerate(polls) if isinstance(poll, Poll) and poll.stopped == "all"]
            if not left:
                break
            made = yield from drawn.draw([inputs[i] for i in left], [configs[i] for i in left], size, asked)
            asked += size
            for place, samples in zip(left, made, strict=True):
                polls[place] = _counted(polls[place], samples, self.n - asked, self.stop_when)
        return each(self._outputs, polls)

    def _outputs(self, poll: "Poll") -> dict[str, Any]:
        winner, outcome = poll.close()
        return {**winner.outputs, self.outcome_key: outcome}


class Poll:
    """The votes on one question so far."""

    def __init__(self, key: Key, output: str) -> None:
        self._key, self._output = key, output
        self._samples: list[Sample] = []
        self._keys: list[Any] = []
        self._errors: list[Exception] = []
        self.stopped: Literal["all", "decided", "sure"] = "all"

    def add(self, samples: list[Any], left: int, stop_when: float | None) -> "Poll":
        """Count samples; `left` are still to come. Raises what the key function raises."""
        for sample in samples:
            if isinstance(sample, Exception):
                self._errors.append(sample)
            else:
                self._samples.append(sample)
                self._keys.append(self._key(sample.outputs[self._output]))
        first, second = self._lead()
        if left and first - second > left:
            self.stopped = "decided"
        elif left and stop_when is not None and first and confidence(first, second) >= stop_when:
            self.stopped = "sure"
        return self

    def close(self) -> tuple[Sample, Outcome]:
        """Return the winner and the outcome. Raises ModelError where nothing was voted for, or the error of all the samples."""
        votes = Counter(key for key in self._keys if key is not None)
        if not self._samples:
            raise self._errors[0]
        if not votes:
            raise ModelError(
                f"none of {len(self._samples)} answers voted for anything: the key function returned None for each; "
                f"the first answer: {str(self._samples[0].outputs[self._output])[:80]!r}"
            )
        winning = votes.most_common(1)[0][0]
        winner = self._samples[self._keys.index(winning)]
        candidates = tuple(
            Candidate(
                s.outputs[self._output],
                s.text,
                1 if key == winning else 2,
                key=key,
                same_prompt=s.prompt == winner.prompt,
            )
            for s, key in zip(self._samples, self._keys, strict=True)
        )
        return winner, Outcome(winner.prompt, candidates, len(self._errors), confidence(*self._lead()), self.stopped)

    def _lead(self) -> tuple[int, int]:
        """Return the votes of the first and of the second."""
        counts = [count for _, count in Counter(key for key in self._keys if key is not None).most_common(2)]
        first, second, *_ = [*counts, 0, 0]
        return first, second


def _counted(poll: Poll, samples: list[Any], left: int, stop_when: float | None) -> Any:
    try:
        return poll.add(samples, left, stop_when)
    except Exception as error:  # of the key function: it is this input's result
        return error


def _check(stop_when: float | None, wave: int | None) -> None:
    if stop_when is not None and not 0.5 < stop_when < 1:
        raise UsageError(
            f"stop_when={stop_when} cannot be used; give a probability above 0.5 and below 1, such as 0.95"
        )
    if wave is not None and wave < 1:
        raise UsageError(f"wave={wave} cannot be used; give at least 1 sample")
