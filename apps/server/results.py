"""A finished job's learning curve as the CSV that OpenAI gives, base64 around it."""

import base64
import csv
import io
import json
from pathlib import Path

from apps.server import files
from apps.server.database import Database, Row

COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")
_NAMES = {"step": "step", "train_loss": "loss", "valid_loss": "validation_loss"}


def table(metrics: Path) -> str:
    """Return the CSV of a model's metrics.jsonl; what is not measured is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in metrics.read_text().splitlines():
        row = json.loads(line)
        writer.writerow([row.get(_NAMES.get(column, ""), "") for column in COLUMNS])
    return text.getvalue()


def add(db: Database, owner: str, metrics: Path) -> Row:
    """Keep the result file of a job and return its row."""
    body = base64.b64encode(table(metrics).encode())
    return files.add(db, owner, "step_metrics.csv", "fine-tune-results", io.BytesIO(body))
