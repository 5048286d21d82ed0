"""A job's training by its method: the same stages as the command line's, from the job's files, with the same numbers every time it is begun."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apps.server import files
from apps.server.database import Database, Row
from chains.home import home, write_file

STAGES = {"supervised": "sft", "dpo": "dpo", "reinforcement": "grpo"}
GROUP_SIZE = 8
"""Answers to a prompt at compute_multiplier 1."""


def train(db: Database, job: Row, report: Any, keep: Any) -> None:
    """Train the job's model under the job's name; `report` hears of every step, and `keep` gets the model after each pass but the last."""
    config, name = config_of(db, job), job["result_name"]
    match job["method"]:
        case "supervised":
            from tuning import sft

            sft.train(config, report, name, keep)
        case "dpo":
            from tuning import dpo

            dpo.train(config, report, name, keep)
        case "reinforcement":
            from apps.server import reinforcement

            reinforcement.train(db, job, config, report, keep)


def run_of(db: Database, job: Row) -> Any:
    """Return the training's run, which says where its checkpoints are."""
    from tuning import base

    also = ""
    if job["method"] == "reinforcement":
        from apps.server.reinforcement import judge_of
        from tuning.rewards import mark

        also = mark([judge_of(job)])
    return base.begin(STAGES[job["method"]], config_of(db, job), [job["model"]], also)


def config_of(db: Database, job: Row) -> Any:
    """Return the training's configuration; the same job has the same, so that it finds its checkpoints."""
    from tuning.configs import DPOConfig, GRPOConfig, SFTConfig

    chosen = json.loads(job["hyperparameters"])
    data, held = (data_path(db, job, param) for param in ("training_file", "validation_file"))
    common: dict[str, Any] = {"suffix": job["suffix"], "seed": job["seed"], "batch_size": chosen["batch_size"]}
    times = chosen["learning_rate_multiplier"]
    if job["method"] == "reinforcement":
        group = max(2, round(GROUP_SIZE * chosen["compute_multiplier"]))
        return GRPOConfig(
            policy=job["model"], prompts=str(data), iterations=chosen["n_epochs"] * rounds(str(data), chosen["batch_size"]),
            group_size=group, minibatch_size=chosen["batch_size"] * group, max_tokens=chosen["max_tokens"],
            learning_rate=GRPOConfig.learning_rate * times, **common,
        )  # fmt: skip
    common |= {"model": job["model"], "data": str(data), "validation": held, "epochs": float(chosen["n_epochs"])}
    if job["method"] == "dpo":
        return DPOConfig(**common, beta=chosen["beta"], learning_rate=DPOConfig.learning_rate * times)
    return SFTConfig(**common, learning_rate=SFTConfig.learning_rate * times)


def rounds(prompts: str, batch_size: int) -> int:
    """Return how many rounds ask every prompt of a file once."""
    from tuning import formats

    return max(1, -(-sum(1 for _ in formats.read(prompts)) // batch_size))


def data_path(db: Database, job: Row, param: str) -> str | None:
    """Return where the rows lie that the method trains on: the uploaded file, or for DPO its preferences as rankings."""
    if job[param] is None:
        return None
    source = files.path_of(files.find(db, job["owner"], job[param]))
    return str(_rankings(job, param, source)) if job["method"] == "dpo" else str(source)


def _rankings(job: Row, param: str, source: Path) -> Path:
    """Return the file's preferences as rankings, each in the line that it came from."""
    target = home() / "jobs" / f"{job['id']}.{param}.jsonl"
    if not target.exists():
        lines: list[str] = []
        for number, row in rankings(source):
            lines += [""] * (number - 1 - len(lines)) + [json.dumps(row, ensure_ascii=False)]
        write_file(target, "\n".join(lines) + "\n")
    return target


def rankings(source: Path) -> Iterator[tuple[int, Row]]:
    """Yield (line, rankings row) of a file of preferences or rankings that has been checked."""
    from tuning import formats
    from tuning.data.convert import rows_as
    from tuning.data.item import Losses
    from tuning.data.recognise import recognise, shape_named

    have, want = recognise(source).shape, shape_named("rankings")
    for number, row in formats.read(source):
        yield from ((number, made) for made in rows_as(row, have, want, Losses()))


def forget_data(job: Row) -> None:
    """Remove what was made of a job's files."""
    for param in ("training_file", "validation_file"):
        (home() / "jobs" / f"{job['id']}.{param}.jsonl").unlink(missing_ok=True)
