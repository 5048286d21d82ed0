"""Brings the queue's batches to their end, one after another, beside the requests from outside, which go first.

What a line gave is in `server.db` before it counts, so that a server started again asks only the lines that have no result.
"""

import asyncio
import fcntl
import io
import json
import logging
import os
import secrets
import time
from typing import Any

import orjson
from starlette.types import ASGIApp

from apps.server import files
from apps.server.batches import check, inward, queue
from apps.server.database import Database, Row
from apps.server.errors import ApiError
from chains.home import home

_log = logging.getLogger("chaintune.server")
TOGETHER = 16
"""Lines that are asked at a time."""
LOOK_S = 0.25
BUSY = (429, 503)


async def run(app: ASGIApp, db: Database) -> None:
    """Work on batches for as long as this task lives, where no other server on this home does."""
    lock = os.open(home() / "batches.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            await asyncio.sleep(LOOK_S)
            if _locked(lock) and (batch := await asyncio.to_thread(queue.next_batch, db)):
                try:
                    await _step(app, db, batch)
                except Exception:
                    _log.exception("batch %s failed", batch["id"])
                    error = {
                        "code": "server_error",
                        "line": None,
                        "message": "the server failed; its log says why",
                        "param": None,
                    }
                    await asyncio.to_thread(queue.change, db, batch["id"], "failed", errors=json.dumps([error]))
    finally:
        os.close(lock)


def _fail(db: Database, batch: Row) -> None:
    error = {"code": "server_error", "line": None, "message": "the server failed; its log says why", "param": None}
    with db.transaction():
        queue.change(db, batch["id"], "failed", errors=json.dumps([error]))


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _step(app: ASGIApp, db: Database, batch: Row) -> None:
    """Take a batch as far as it goes without a stop."""
    if batch["status"] == "validating":
        await asyncio.to_thread(_validate, db, batch)
    elif batch["status"] == "in_progress":
        await _ask(app, db, batch)
    else:
        await asyncio.to_thread(_finish, db, batch)


def _validate(db: Database, batch: Row) -> None:
    try:
        total, errors = check.checked(
            files.path_of(files.find(db, batch["owner"], batch["input_file"])), batch["endpoint"]
        )
    except ApiError as error:  # the file has expired meanwhile
        total, errors = 0, [{"code": "invalid_file", "line": None, "message": error.message, "param": "input_file_id"}]
    with db.transaction():
        if queue.get(db, batch["id"])["status"] != "validating":  # cancelled meanwhile
            return
        if errors:
            queue.change(db, batch["id"], "failed", total=total, errors=json.dumps(errors))
        else:
            queue.change(db, batch["id"], "in_progress", total=total)


async def _ask(app: ASGIApp, db: Database, batch: Row) -> None:
    """Ask the lines that have no result, until there are none, or the batch is cancelled or too old."""
    done = await asyncio.to_thread(queue.answered, db, batch["id"])
    rows = check.lines(files.path_of({"id": batch["input_file"]}))
    left = ((number, line) for number, line in rows if number not in done)

    async def worker() -> None:
        for number, line in left:
            if not await asyncio.to_thread(_wanted, db, batch):
                return
            good, result = await _answer(app, batch, line)
            await asyncio.to_thread(queue.add_result, db, batch["id"], number, good, result)

    async with asyncio.TaskGroup() as group:
        for _ in range(TOGETHER):
            group.create_task(worker())
    await asyncio.to_thread(_close, db, batch)


def _close(db: Database, batch: Row) -> None:
    with db.transaction():
        if queue.get(db, batch["id"])["status"] == "in_progress":
            queue.change(db, batch["id"], "finalizing")


def _wanted(db: Database, batch: Row) -> bool:
    return queue.get(db, batch["id"])["status"] == "in_progress" and not _late(batch)


def _late(batch: Row) -> bool:
    return bool(batch["created_at"] + queue.WINDOW_S <= time.time())


async def _answer(app: ASGIApp, batch: Row, line: bytes) -> tuple[bool, dict[str, Any]]:
    """Return whether a line was answered, and its line of the results; where the server is busy it waits."""
    asked = orjson.loads(line)
    while True:
        status, request_id, body = await inward.ask(app, batch["endpoint"], batch["owner"], orjson.dumps(asked["body"]))
        if status not in BUSY or _late(batch):
            break
        await asyncio.sleep(1)
    answer = {"status_code": status, "request_id": request_id, "body": orjson.loads(body)}
    return status < 400, {"id": _result_id(), "custom_id": asked["custom_id"], "response": answer, "error": None}


def _result_id() -> str:
    return f"batch_req_{secrets.token_hex(12)}"


def _finish(db: Database, batch: Row) -> None:
    """Make the results files, and give the batch its last status, at once."""
    cancelled = batch["status"] == "cancelling"
    source = files.path_of({"id": batch["input_file"]})
    done = queue.answered(db, batch["id"])
    if not cancelled and source.exists():
        for number, line in check.lines(source):
            if number not in done:
                error = {
                    "code": "batch_expired",
                    "message": "This request could not be executed before the completion window expired.",
                }
                queue.add_result(db, batch["id"], number, False, {"id": _result_id(), "custom_id": orjson.loads(line)["custom_id"],
                                                                  "response": None, "error": error})  # fmt: skip
    status = "cancelled" if cancelled else "completed" if len(done) == batch["total"] else "expired"
    made = {name: _file(db, batch, good) for name, good in (("output_file", 1), ("error_file", 0))}
    with db.transaction():
        for row in filter(None, made.values()):
            db.add("files", **row)
        queue.change(db, batch["id"], status, **{name: row and row["id"] for name, row in made.items()})


def _file(db: Database, batch: Row, good: int) -> Row | None:
    """Keep the good or the bad results as a file that is not there yet; None where there are none."""
    rows = db.rows("SELECT result FROM batch_results WHERE batch = ? AND good = ? ORDER BY line", (batch["id"], good))
    if not rows:
        return None
    body = io.BytesIO("".join(row["result"] + "\n" for row in rows).encode())
    return files.kept(
        batch["owner"], f"{batch['id']}_{'output' if good else 'error'}.jsonl", "batch_output", body, batch["expires_s"]
    )
