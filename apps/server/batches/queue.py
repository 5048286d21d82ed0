"""Batches as rows of `server.db`: validating -> in_progress -> finalizing -> completed | failed | expired, and cancelling -> cancelled."""

import json
import time
from typing import Any

from apps.server.database import Database, Row, new_id
from apps.server.errors import ApiError
from apps.server.lookup import found
from apps.server.webhooks.endpoints import notify

ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
ENDED = ("completed", "failed", "expired", "cancelled")
WINDOW_S = 24 * 3600
TIMES = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


def create(
    db: Database, owner: str, endpoint: str, input_file: str, metadata: dict[str, str] | None, expires_s: int | None
) -> Row:
    """Put a batch into the queue and return it."""
    batch_id = new_id("batch_")
    db.add("batches", id=batch_id, owner=owner, endpoint=endpoint, input_file=input_file, expires_s=expires_s, status="validating",
           metadata=None if metadata is None else json.dumps(metadata), times="{}", created_at=int(time.time()))  # fmt: skip
    return get(db, batch_id)


def get(db: Database, batch_id: str) -> Row:
    """Return a batch. Raises ApiError 404 where there is none."""
    return found(db, "batches", "batch", batch_id)


def owned(db: Database, owner: str, batch_id: str) -> Row:
    """Return the owner's batch. Raises ApiError 404 where there is none, or it is another's."""
    return found(db, "batches", "batch", batch_id, owner)


def listed(db: Database, owner: str) -> list[Row]:
    """Return the owner's batches, newest first."""
    return db.rows("SELECT * FROM batches WHERE owner = ? ORDER BY place DESC", (owner,))


def next_batch(db: Database) -> Row | None:
    """Return the oldest batch that has not ended."""
    return next(iter(db.rows("SELECT * FROM batches WHERE ended_at IS NULL ORDER BY place LIMIT 1")), None)


def change(db: Database, batch_id: str, status: str, **columns: Any) -> None:
    """Give a batch another status, and note when; within a transaction."""
    now = int(time.time())
    times = {**json.loads(get(db, batch_id)["times"]), status: now}
    columns |= {"status": status, "times": json.dumps(times), "ended_at": now if status in ENDED else None}
    names = ", ".join(f"{name} = ?" for name in columns)
    db.write(f"UPDATE batches SET {names} WHERE id = ?", [*columns.values(), batch_id])
    if status in ENDED:
        notify(db, get(db, batch_id)["owner"], f"batch.{status}", batch_id)


def cancel(db: Database, batch_id: str) -> None:
    """Ask a batch to end: what is under way is finished. Raises ApiError 400 where it has ended."""
    with db.transaction():
        status = get(db, batch_id)["status"]
        if status in ENDED or status == "finalizing":
            raise ApiError(400, f"batch {batch_id} is {status}, so it cannot be cancelled", "invalid_state")
        if status != "cancelling":
            change(db, batch_id, "cancelling")


def add_result(db: Database, batch_id: str, line: int, good: bool, result: dict[str, Any]) -> None:
    """Keep what one line gave."""
    said = json.dumps(result, ensure_ascii=False)
    db.write("INSERT OR IGNORE INTO batch_results VALUES (?, ?, ?, ?)", (batch_id, line, int(good), said))


def answered(db: Database, batch_id: str) -> set[int]:
    """Return the lines that have a result."""
    return {row["line"] for row in db.rows("SELECT line FROM batch_results WHERE batch = ?", (batch_id,))}


def as_json(db: Database, row: Row) -> Row:
    """Return OpenAI's Batch."""
    counted = db.rows(
        "SELECT count(*) AS all_, coalesce(sum(good), 0) AS good FROM batch_results WHERE batch = ?", (row["id"],)
    )[0]
    times = json.loads(row["times"])
    shown = {name: row[name] for name in ("id", "endpoint", "status", "created_at")}
    return {
        **shown, "object": "batch", "input_file_id": row["input_file"], "completion_window": "24h",
        "expires_at": row["created_at"] + WINDOW_S, "output_file_id": row["output_file"], "error_file_id": row["error_file"],
        "errors": {"object": "list", "data": json.loads(row["errors"])} if row["errors"] else None,
        "request_counts": {"total": row["total"], "completed": counted["good"], "failed": counted["all_"] - counted["good"]},
        "metadata": json.loads(row["metadata"]) if row["metadata"] else None,
        **{f"{name}_at": times.get(name) for name in TIMES},
    }  # fmt: skip
