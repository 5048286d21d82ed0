"""A sample's reward by a grader: a number for each single grader, and for several the value of their formula."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from apps.server.graders import formula, program, shapes, template
from apps.server.graders.similarity import similarity
from chains.errors import ChaintuneError

FLAGS = ("formula_parse_error", "invalid_variable_error", "model_grader_parse_error", "model_grader_refusal_error",
         "model_grader_server_error", "other_error", "python_grader_runtime_error", "python_grader_server_error",
         "sample_parse_error", "truncated_observation_error", "unresponsive_reward_error")  # fmt: skip
"""What can go wrong, as OpenAI names it."""


@dataclass(frozen=True)
class Means:
    """What graders may use: reward models by name, and whether programs run at all."""

    scorer: Callable[[str], Any]
    python: bool = False


@dataclass
class Graded:
    """A sample's reward; `scores` are the single graders' numbers, `errors` what went wrong, a flag or its words. An error's score is 0."""

    reward: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    errors: dict[str, bool | str] = field(default_factory=dict)


def grade(grader: Any, text: str, item: Any, means: Means) -> Graded:
    """Return what `grader` gives the answer `text` to the row `item`."""
    found = Graded()
    sample = template.sample_of(text)
    for name, single in shapes.singles(grader).items():
        found.scores[name] = _score(single, sample, item, means, found.errors)
    if isinstance(grader, shapes.Multi):
        try:
            found.reward = formula.value(grader.calculate_output, found.scores)
        except ValueError as error:
            found.errors |= {"formula_parse_error": True, "formula_parse_error_details": str(error)}
    else:
        (found.reward,) = found.scores.values()
    return found


def _score(grader: Any, sample: dict[str, Any], item: Any, means: Means, errors: dict[str, bool | str]) -> float:
    try:
        return float(_KINDS[grader.type](grader, sample, item, means))
    except template.NoValue as error:
        flag, words = ("sample_parse_error" if error.of_sample else "invalid_variable_error"), str(error)
    except program.Failed as error:
        flag, words = f"python_grader_{error.kind}_error", str(error)
    except ChaintuneError as error:
        flag, words = "model_grader_server_error", str(error)
    errors |= {flag: True, f"{flag}_details": words}
    return 0.0


def _string_check(grader: shapes.StringCheck, sample: dict[str, Any], item: Any, means: Means) -> bool:
    text, reference = (template.filled(each, sample, item) for each in (grader.input, grader.reference))
    match grader.operation:
        case "eq":
            return text == reference
        case "ne":
            return text != reference
        case "like":
            return reference in text
        case "ilike":
            return reference.casefold() in text.casefold()


def _text_similarity(grader: shapes.TextSimilarity, sample: dict[str, Any], item: Any, means: Means) -> float:
    text, reference = (template.filled(each, sample, item) for each in (grader.input, grader.reference))
    return similarity(grader.evaluation_metric, text, reference)


def _score_model(grader: shapes.ScoreModel, sample: dict[str, Any], item: Any, means: Means) -> float:
    turns = [{"role": turn.role, "content": template.filled(turn.text, sample, item)} for turn in grader.input]
    score = float(means.scorer(grader.model).score(turns[:-1], turns[-1]["content"]))
    return score if grader.range is None else min(grader.range[1], max(grader.range[0], score))


def _python(grader: shapes.Python, sample: dict[str, Any], item: Any, means: Means) -> float:
    if not means.python:
        raise program.Failed("server", "python graders are off; start with: chaintune serve --python-graders")
    return program.reward(grader.source, sample, item)


_KINDS: dict[str, Callable[[Any, dict[str, Any], Any, Means], float]] = {
    "string_check": _string_check, "text_similarity": _text_similarity, "score_model": _score_model, "python": _python,
}  # fmt: skip
