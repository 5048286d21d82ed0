"""What must hold of a job's files before it is queued, with the codes that OpenAI gives; and the numbers in place of 'auto'."""

import json
from typing import Any

from apps.server import files
from apps.server.database import Database, Row
from chains.errors import UsageError

MOST_TOLD = 5


class Invalid(Exception):
    """The files are not what the job needs."""

    def __init__(self, code: str, message: str, param: str) -> None:
        super().__init__(message)
        self.code, self.param = code, param


def validated(db: Database, job: Row) -> tuple[dict[str, Any], int | None]:
    """Return the hyperparameters as numbers, and how many tokens will be trained on. Raises Invalid, naming the first lines."""
    given = json.loads(job["hyperparameters"])
    report = _checked(db, job, "training_file", given.get("n_epochs"))
    if job["validation_file"]:
        _checked(db, job, "validation_file", None)
    return chosen(given, report.rows), report.summary.get("trained_tokens")


def chosen(given: dict[str, Any], rows: int) -> dict[str, Any]:
    """Return the numbers that stand for 'auto': OpenAI's rule for the epochs, a fortieth of the rows as a batch, the rate as it is."""
    from tuning.data.summary import default_epochs

    auto = {
        "n_epochs": default_epochs(rows),
        "batch_size": max(1, min(32, rows // 40)),
        "learning_rate_multiplier": 1.0,
    }
    return {name: auto[name] if given.get(name, "auto") == "auto" else given[name] for name in auto}


def _checked(db: Database, job: Row, param: str, epochs: Any) -> Any:
    from tuning import formats

    row = files.find(db, job["owner"], job[param])
    path, code = str(files.path_of(row)), f"invalid_{param}"
    asked = formats.Asked(model=job["model"], epochs=epochs if isinstance(epochs, int) else None, near=False)
    try:
        report = formats.check(path, asked)
    except UsageError as error:
        raise Invalid(code, str(error).replace(path, row["filename"]), param) from None
    if report.format != "openai-chat" and report.rows:
        raise Invalid(
            code,
            f"{row['filename']} is in the {report.format} format, and supervised fine-tuning takes chat messages",
            param,
        )
    errors = [
        str(finding).replace(path, row["filename"])
        for finding in report.findings
        if finding.level == "error" and finding.rule != "too-few-rows"
    ]
    if report.rows < 10 and param == "training_file":
        raise Invalid(
            "invalid_n_examples",
            f"Training file has {report.rows} example(s), but must have at least 10 examples",
            param,
        )
    if errors:
        raise Invalid(code, "The job failed due to an invalid file. " + " ".join(errors[:MOST_TOLD]), param)
    return report
