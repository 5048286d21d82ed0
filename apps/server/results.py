"""A job's figures under OpenAI's names, and a finished job's learning curve as the CSV that OpenAI gives, base64 around it."""

import base64
import csv
import io
import json
from pathlib import Path

from apps.server import files
from apps.server.database import Database, Row

PURPOSE = "fine-tune-results"
COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")
_ALSO = ("train_reward_mean", "valid_reward_mean")
_NAMES = {"step": "step", "train_loss": "loss", "train_accuracy": "pair_accuracy", "valid_loss": "validation_loss",
          "train_reward_mean": "reward", "valid_reward_mean": "validation_reward"}  # fmt: skip
_TOLD = {"train_loss": "loss", "full_valid_loss": "validation_loss", "train_pair_accuracy": "pair_accuracy",
         "valid_pair_accuracy": "validation_pair_accuracy", "train_reward_mean": "reward", "valid_reward_mean": "validation_reward",
         "kl": "kl", "grader_errors": "grader_errors"}  # fmt: skip


def named(metrics: dict[str, float]) -> dict[str, float]:
    """Return those of a step's metrics that events and checkpoints tell, by OpenAI's names."""
    return {name: metrics[own] for name, own in _TOLD.items() if own in metrics}


def table(metrics: Path) -> str:
    """Return the CSV of a model's metrics.jsonl; what is not measured is empty, and a reward has columns where there is one."""
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    columns = (*COLUMNS, *(name for name in _ALSO if any(_NAMES[name] in row for row in rows)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row.get(_NAMES.get(column, ""), "") for column in columns] for row in rows)
    return text.getvalue()


def add(db: Database, owner: str, metrics: Path) -> Row:
    """Keep the result file of a job and return its row."""
    body = base64.b64encode(table(metrics).encode())
    return files.add(db, owner, "step_metrics.csv", PURPOSE, io.BytesIO(body))


def csv_of(result: Path) -> bytes:
    """Return the CSV of a result file."""
    return base64.b64decode(result.read_bytes())
