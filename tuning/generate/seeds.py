"""The seed tasks that new instructions grow from: a few dozen of our own in English and Korean, or a JSONL file of yours.

A line is {"instruction": …, "instances": [{"input": …, "output": …}, …], "is_classification": false}, Self-Instruct's form, so its own
175 seed tasks are read as they are. An instance without an input has "".
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from tuning import formats

LEAST = 8  # a Self-Instruct request shows eight instructions


@dataclass(frozen=True)
class Instance:
    """One example of a task: what is given ('' for nothing) and the answer."""

    input: str
    output: str


@dataclass(frozen=True)
class Task:
    """An instruction with its examples; of a classification task the answers are few and known beforehand."""

    instruction: str
    instances: tuple[Instance, ...] = ()
    is_classification: bool = False


def shipped(language: str) -> list[Task]:
    """Return the seed tasks that come with this package, in `en` or `ko`."""
    return read(Path(__file__).parent / "tasks" / f"{language}.jsonl")


def read(path: str | Path) -> list[Task]:
    """Return the tasks of a JSONL file. Raises UsageError, naming the line, at the first that is no task, or where there are fewer than LEAST."""
    tasks = [_task(f"{path}:{line}", row) for line, row in formats.read(path)]
    if len(tasks) < LEAST:
        raise UsageError(f"{path} has {len(tasks)} seed tasks; at least {LEAST} are shown together, so give more")
    return tasks


def _task(place: str, row: dict[str, Any]) -> Task:
    instruction, instances, kind = row.get("instruction"), row.get("instances"), row.get("is_classification", False)
    if not isinstance(instruction, str) or not instruction.strip():
        raise UsageError(f"{place}: instruction: is missing or no text; write what is to be done")
    if not isinstance(kind, bool):
        raise UsageError(f"{place}: is_classification: {kind!r} is neither true nor false; write one of them")
    if not isinstance(instances, list) or not instances:
        raise UsageError(f'{place}: instances: is missing or empty; expected [{{"input": "", "output": "…"}}]')
    return Task(instruction.strip(), tuple(_instance(place, i, value) for i, value in enumerate(instances)), kind)


def _instance(place: str, number: int, value: Any) -> Instance:
    where = f"{place}: instances[{number}]"
    if not isinstance(value, dict):
        raise UsageError(f'{where}: is no object; expected {{"input": "", "output": "…"}}')
    given, answer = value.get("input", ""), value.get("output")
    if not isinstance(given, str):
        raise UsageError(f"{where}.input: is no text; write what is given, or leave it out")
    if not isinstance(answer, str) or not answer.strip():
        raise UsageError(f"{where}.output: is missing or no text; write the answer")
    return Instance(given.strip(), answer.strip())
