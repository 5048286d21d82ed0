"""What must hold of a job's files before it is queued, with the codes that OpenAI gives; and the numbers in place of 'auto'."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from apps.server import files, methods
from apps.server.database import Database, Row
from apps.server.graders import shapes, template
from chains.errors import UsageError
from chains.models import registry

MOST_TOLD = 5


class Invalid(Exception):
    """The files are not what the job needs."""

    def __init__(self, code: str, message: str, param: str) -> None:
        super().__init__(message)
        self.code, self.param = code, param


FORMATS = {
    "supervised": (("openai-chat", "completion"), "chat messages, or prompts with completions"),
    "dpo": (("openai-preference", "rankings"), "preferences: input, preferred_output and non_preferred_output"),
    "reinforcement": (("openai-reinforcement",), "prompts: messages that end with the user's"),
}
"""The formats that a method trains on, and their words."""
LONGEST_ANSWER = 256
"""Tokens of a sampled answer where none are named; a quarter of a smaller model's context."""


def validated(db: Database, job: Row) -> tuple[dict[str, Any], int | None]:
    """Return the hyperparameters as numbers, and how many tokens will be trained on. Raises Invalid, naming the first lines."""
    given = json.loads(job["hyperparameters"])
    report = _checked(db, job, "training_file", given.get("n_epochs"))
    if job["validation_file"]:
        _checked(db, job, "validation_file", None)
    return chosen(given, report.rows, job["model"]), report.summary.get("trained_tokens")


def chosen(given: dict[str, Any], rows: int, model: str) -> dict[str, Any]:
    """Return the numbers that stand for 'auto': OpenAI's rule for the epochs, a fortieth of the rows as a batch (GRPO: its own, at most
    all), the rates as they are. An eval_interval that is open stays so: once a pass."""
    from tuning.configs import DPOConfig, GRPOConfig
    from tuning.data.summary import default_epochs

    grpo = "compute_multiplier" in given
    auto: dict[str, Any] = {
        "n_epochs": default_epochs(rows),
        "batch_size": min(GRPOConfig.batch_size, rows) if grpo else max(1, min(32, rows // 40)),
        "learning_rate_multiplier": 1.0,
    }
    if "beta" in given:
        auto |= {"beta": DPOConfig.beta}
    if grpo:
        auto |= {"compute_multiplier": 1.0, "eval_interval": "auto", "eval_samples": 1, "reasoning_effort": "default",
                 "max_tokens": min(LONGEST_ANSWER, max(1, _context(model) // 4))}  # fmt: skip
    return {name: auto[name] if given.get(name, "auto") == "auto" else given[name] for name in auto}


def _context(model: str) -> int:
    from transformers import AutoConfig

    source = model.removeprefix("hf:") if model.startswith("hf:") else registry.find(model).source
    return getattr(AutoConfig.from_pretrained(source), "max_position_embeddings", None) or 4 * LONGEST_ANSWER


def _checked(db: Database, job: Row, param: str, epochs: Any) -> Any:
    from tuning import formats

    row = files.find(db, job["owner"], job[param])
    path, code = str(files.path_of(row)), f"invalid_{param}"
    asked = formats.Asked(model=job["model"], epochs=epochs if isinstance(epochs, int) else None, near=False)
    try:
        report = formats.check(path, asked)
        _check_format(report, job["method"], row["filename"])
        if report.rows < 10 and param == "training_file":
            few = f"Training file has {report.rows} example(s), but must have at least 10 examples"
            raise Invalid("invalid_n_examples", few, param)
        errors = [str(each) for each in report.findings if each.level == "error" and each.rule != "too-few-rows"]
        errors = errors or list(islice(_untrained(job, path), MOST_TOLD))
    except UsageError as error:
        raise Invalid(code, str(error).replace(path, row["filename"]), param) from None
    if errors:
        said = " ".join(errors[:MOST_TOLD]).replace(path, row["filename"])
        raise Invalid(code, f"The job failed due to an invalid file. {said}", param)
    return report


def _check_format(report: Any, method: str, filename: str) -> None:
    known, words = FORMATS[method]
    if report.rows and report.format not in known:
        raise UsageError(f"{filename} is in the {report.format} format, and the {method} method takes {words}")


def _untrained(job: Row, path: str) -> Iterator[str]:
    """Yield what is right by the format, and yet cannot be trained on by the job's method."""
    from tuning import formats
    from tuning.problems import message_problems, ranking_problems

    if job["method"] == "dpo":
        for line, row in methods.rankings(Path(path)):
            yield from (str(problem) for problem in ranking_problems(path, line, row))
            if row["input"].get("tools"):
                yield f"{path}:{line}: input.tools are not trained on; leave them out"
    elif job["method"] == "reinforcement":
        texts = shapes.texts(TypeAdapter(shapes.Grader).validate_json(job["grader"]))
        for line, row in formats.read(path):
            yield from (str(problem) for problem in message_problems(path, line, row))
            if row.get("tools"):
                yield f"{path}:{line}: tools are not trained on; leave them out"
            yield from (f"{path}:{line}: the grader's {said}; add the field" for said in template.lacking(texts, row))
