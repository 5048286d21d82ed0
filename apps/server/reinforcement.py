"""A reinforcement job: GRPO whose reward is the job's grader, and what it gives to answers of a validation file now and then."""

import hashlib
import json
import os
from typing import Any

from pydantic import TypeAdapter

from apps.server import methods
from apps.server.database import Database, Row
from apps.server.graders import grade, shapes
from chains.errors import ModelError

PYTHON_GRADERS = "CHAINTUNE_PYTHON_GRADERS"
"""Set to 1 for a worker whose server was started to run programs."""


class Judge:
    """A grader as a reward function: (row, answer) -> reward; what it could not grade is 0 and counted.

    An answer that is no JSON where JSON is wanted is worth 0, and no failure of the grader's.
    """

    def __init__(self, grader: dict[str, Any], means: grade.Means) -> None:
        self._grader: Any = TypeAdapter(shapes.Grader).validate_python(grader)
        self._means = means
        self._asked = self._failed = 0
        self._why = ""
        self.__qualname__ = hashlib.sha256(json.dumps(grader, sort_keys=True).encode()).hexdigest()

    def __call__(self, row: Row, answer: str) -> float:
        """Return the reward of `answer` to the prompt of `row`."""
        found = grade.grade(self._grader, answer, row, self._means)
        self._asked += 1
        if words := [str(said) for flag, said in found.errors.items() if _is_failure(flag)]:
            self._failed += 1
            self._why = words[-1]
        return found.reward

    def failures(self) -> float:
        """Return the share of answers since the last call that could not be graded. Raises ModelError where it is all of them."""
        if self._asked and self._failed == self._asked:
            raise ModelError(
                f"the grader could grade none of {self._asked} answers: {self._why}; mend it, and try it with graders/run"
            )
        share = self._failed / max(1, self._asked)
        self._asked = self._failed = 0
        return share


def _is_failure(flag: str) -> bool:
    return flag.endswith("_details") and not flag.startswith("sample_parse")


def judge_of(job: Row) -> Judge:
    """Return the job's grader as a reward function."""
    from chains.models.scorer import load_scorer

    return Judge(json.loads(job["grader"]), grade.Means(load_scorer, os.environ.get(PYTHON_GRADERS) == "1"))


def train(db: Database, job: Row, config: Any, report: Any, keep: Any) -> None:
    """Run GRPO on the job's prompts by its grader."""
    from tuning import grpo

    judge, chosen = judge_of(job), json.loads(job["hyperparameters"])
    passed = methods.rounds(config.prompts, config.batch_size)
    held = methods.data_path(db, job, "validation_file")
    interval = passed if chosen["eval_interval"] == "auto" else chosen["eval_interval"]

    def after_round(step: int, policy: Any, tokenizer: Any, metrics: dict[str, float]) -> None:
        metrics["grader_errors"] = judge.failures()
        if held and (step % interval == 0 or step == config.iterations):
            metrics["validation_reward"] = _evaluated(policy, tokenizer, held, judge, config, chosen["eval_samples"])
        if step % passed == 0 and step < config.iterations:
            keep(step, policy, tokenizer, metrics)

    grpo.train(config, report, [judge], job["result_name"], after_round)


def _evaluated(policy: Any, tokenizer: Any, path: str, judge: Judge, config: Any, samples: int) -> float:
    """Return the mean reward of `samples` answers to each prompt of `path`; the training's random numbers are not touched."""
    import torch

    from chains.models.engine import Engine
    from tuning import formats, prompting, rollout

    rows = [row for _, row in formats.read(path) for _ in range(samples)]
    prompts = [prompt for prompt in formats.read_prompts(path) for _ in range(samples)]
    context = getattr(policy.config, "max_position_embeddings", None) or 2**31
    engine = Engine(policy, tokenizer, max_batch=config.batch_size * config.group_size)
    with torch.random.fork_rng(devices=[]):
        ids = prompting.prompt_ids(tokenizer, context, prompts, path, config.max_tokens)
        answers = rollout.sample(engine, ids, config.max_tokens, prompting.streams(len(ids), 0, config.seed))
    engine.close()
    rewards = [judge(row, text) for row, text in zip(rows, answers.texts, strict=True)]
    judge.failures()
    return sum(rewards) / len(rewards)
