"""The queue of fine-tuning jobs: rows of `server.db`, which the server, its worker and the command line all act upon.

validating_files -> queued -> running -> succeeded | failed | cancelled, and paused beside running. The worker that has `taken` a job sees
`wanted` at its next step; a job that no worker has is changed at once.
"""

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from apps.server.database import Database, Row, new_id
from apps.server.errors import ApiError
from apps.server.lookup import found
from apps.server.webhooks.endpoints import notify
from chains.models import registry

ACTIVE = ("validating_files", "queued", "running")
ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Method:
    """How a job's model learns: `supervised`, `dpo` or `reinforcement`, with its numbers ('auto' where it is open) and its grader."""

    kind: str
    hyperparameters: dict[str, Any]
    grader: dict[str, Any] | None = None


def create(
    db: Database, owner: str, model: str, training_file: str, validation_file: str | None, suffix: str, seed: int | None,
    method: Method, metadata: dict[str, str] | None,
) -> Row:  # fmt: skip
    """Put a job into the queue and return it. Raises UsageError for a suffix that cannot be part of a name."""
    name = registry.new_name(model, suffix)
    job_id = new_id("ftjob-")
    with db.transaction():
        db.add(
            "jobs", id=job_id, owner=owner, created_at=int(time.time()), model=model, suffix=suffix,
            seed=secrets.randbelow(2**31) if seed is None else seed, training_file=training_file,
            validation_file=validation_file, method=method.kind, hyperparameters=json.dumps(method.hyperparameters),
            grader=None if method.grader is None else json.dumps(method.grader), metadata=None if metadata is None else json.dumps(metadata), result_name=name, status="validating_files",
        )  # fmt: skip
        event(db, job_id, f"Created fine-tuning job: {job_id}")
        event(db, job_id, f"Validating training file: {training_file}")
    return get(db, job_id)


def get(db: Database, job_id: str) -> Row:
    """Return a job. Raises ApiError 404 where there is none."""
    return found(db, "jobs", "fine-tuning job", job_id)


def owned(db: Database, owner: str, job_id: str) -> Row:
    """Return the owner's job. Raises ApiError 404 where there is none, or it is another's."""
    return found(db, "jobs", "fine-tuning job", job_id, owner)


def listed(db: Database, owner: str | None = None) -> list[Row]:
    """Return the owner's jobs (None: everybody's), newest first."""
    return db.rows("SELECT * FROM jobs WHERE ? IS NULL OR owner = ? ORDER BY place DESC", (owner, owner))


def events(db: Database, job_id: str) -> list[Row]:
    """Return a job's events, newest first."""
    return db.rows("SELECT * FROM events WHERE job = ? ORDER BY place DESC", (job_id,))


def checkpoints(db: Database, job_id: str) -> list[Row]:
    """Return a job's checkpoints, newest first."""
    return db.rows("SELECT * FROM checkpoints WHERE job = ? ORDER BY place DESC", (job_id,))


def event(db: Database, job_id: str, message: str, data: dict[str, Any] | None = None, level: str = "info") -> None:
    """Note what happened to a job; `data` are a step's metrics."""
    kind, now = ("message" if data is None else "metrics"), int(time.time())
    said = json.dumps(data) if data is not None else None
    db.add("events", id=new_id("ftevent-"), job=job_id, created_at=now, level=level, type=kind, message=message, data=said)  # fmt: skip


def update(db: Database, job_id: str, **columns: Any) -> None:
    """Change columns of a job."""
    names = ", ".join(f"{name} = ?" for name in columns)
    db.write(f"UPDATE jobs SET {names} WHERE id = ?", [*columns.values(), job_id])


def end(db: Database, job_id: str, status: str, message: str, **columns: Any) -> None:
    """Give a job its last status, and say so; within a transaction."""
    level = "error" if status == "failed" else "info"
    update(db, job_id, status=status, wanted="", finished_at=int(time.time()), **columns)
    event(db, job_id, message, level=level)
    notify(db, get(db, job_id)["owner"], f"fine_tuning.job.{status}", job_id)


def fail(db: Database, job_id: str, code: str, message: str, param: str | None = None) -> None:
    """End a job that cannot succeed."""
    error = json.dumps({"code": code, "message": message, "param": param})
    with db.transaction():
        end(db, job_id, "failed", f"The job failed: {message}", error=error)


def cancel(db: Database, job_id: str) -> None:
    """Cancel a job: at once where it only waits, else at its next step. Raises ApiError 400 where it has ended."""
    with db.transaction():
        status = _changeable(db, job_id, "cancelled")
        if status == "paused" or not get(db, job_id)["taken"]:
            end_now(db, job_id)
        else:
            update(db, job_id, wanted="cancel")


def end_now(db: Database, job_id: str) -> None:
    """Note that a job was cancelled; within a transaction."""
    end(db, job_id, "cancelled", "The job was cancelled")


def pause(db: Database, job_id: str) -> None:
    """Pause a job: at once where it only waits, else at its next step, with a checkpoint. Raises ApiError 400 where it has ended."""
    with db.transaction():
        status = _changeable(db, job_id, "paused")
        if status == "paused":
            return
        if not get(db, job_id)["taken"]:
            update(db, job_id, status="paused")
            event(db, job_id, "The job was paused")
        else:
            update(db, job_id, wanted="pause")


def resume(db: Database, job_id: str) -> None:
    """Put a paused job into the queue again. Raises ApiError 400 where it is not paused."""
    with db.transaction():
        status = _changeable(db, job_id, "resumed")
        if status == "paused":
            update(db, job_id, status="validating_files", wanted="", crashes=0)
            event(db, job_id, "The job was resumed")
        elif get(db, job_id)["wanted"] == "pause":
            update(db, job_id, wanted="")
        else:
            raise ApiError(400, f"job {job_id} is {status} and not paused; there is nothing to resume", "invalid_state")


def _changeable(db: Database, job_id: str, what: str) -> str:
    status = str(get(db, job_id)["status"])
    if status in ENDED:
        raise ApiError(400, f"job {job_id} has {status} already, so it cannot be {what}", "invalid_state")
    return status


def next_job(db: Database) -> str | None:
    """Return the job to work on: the one that was under way, else the oldest that waits."""
    found = db.rows(
        "SELECT id FROM jobs WHERE status IN ('validating_files', 'queued', 'running') "
        "ORDER BY status = 'running' DESC, place LIMIT 1"
    )
    return str(found[0]["id"]) if found else None


def as_json(row: Row) -> Row:
    """Return OpenAI's FineTuningJob."""
    given = json.loads(row["hyperparameters"])
    grader = {"grader": json.loads(row["grader"])} if row["grader"] else {}
    shown = {name: row[name] for name in ("id", "created_at", "model", "seed", "training_file", "validation_file")}
    ended = row["status"] == "succeeded"
    return {
        **shown,
        "object": "fine_tuning.job",
        "status": row["status"],
        "hyperparameters": given,
        "method": {"type": row["method"], row["method"]: {**grader, "hyperparameters": given}},
        "fine_tuned_model": row["result_name"] if ended else None,
        "result_files": [row["result_file"]] if row["result_file"] else [],
        "trained_tokens": row["trained_tokens"] if ended else None,
        "error": json.loads(row["error"]) if row["error"] else None,
        "finished_at": row["finished_at"],
        "estimated_finish": None,
        "integrations": [],
        "metadata": json.loads(row["metadata"]) if row["metadata"] else None,
        "organization_id": "org-local",
        "user_provided_suffix": row["suffix"] or None,
    }


def event_as_json(row: Row) -> Row:
    """Return OpenAI's FineTuningJobEvent."""
    shown = {name: row[name] for name in ("id", "created_at", "level", "message", "type")}
    return {**shown, "object": "fine_tuning.job.event", "data": json.loads(row["data"]) if row["data"] else None}


def checkpoint_as_json(row: Row) -> Row:
    """Return OpenAI's FineTuningJobCheckpoint."""
    return {
        "id": row["id"],
        "object": "fine_tuning.job.checkpoint",
        "created_at": row["created_at"],
        "fine_tuned_model_checkpoint": row["model"],
        "fine_tuning_job_id": row["job"],
        "step_number": row["step"],
        "metrics": json.loads(row["metrics"]),
    }
