"""Uploaded files: bytes under CHAINTUNE_HOME/files by an id of ours, the rest in `server.db`. A client's name is never a path.

A file is there once its row is: bytes come first, and bytes without a row are nobody's.
"""

import os
import shutil
import time
from pathlib import Path
from typing import BinaryIO

import orjson

from apps.server.database import Database, Row, new_id
from apps.server.errors import ApiError, missing
from apps.server.lookup import found
from chains.home import home, machine_error

PURPOSES = ("fine-tune", "batch", "assistants", "vision", "user_data", "evals")
EXPIRES = (3600, 2592000)
"""The seconds after which a file may be made to go, from and to."""
LINE_BYTES = 4 * 2**20


def path_of(row: Row) -> Path:
    """Return where a file's bytes lie."""
    return home() / "files" / f"{row['id']}.jsonl"


def add(db: Database, owner: str, filename: str, purpose: str, source: BinaryIO, expires_s: int | None = None) -> Row:
    """Keep a file and return its row. Raises ApiError where a training file is no JSONL."""
    row = kept(owner, filename, purpose, source, expires_s)
    db.add("files", **row)
    return row


def kept(owner: str, filename: str, purpose: str, source: BinaryIO, expires_s: int | None = None) -> Row:
    """Keep the bytes of `source` and return the row that makes them a file. Raises ApiError where a training file is no JSONL."""
    if purpose == "fine-tune":
        check_jsonl(source)
    now = int(time.time())
    expires_at = None if expires_s is None else now + expires_s
    row: Row = {
        "id": new_id("file-"),
        "owner": owner,
        "filename": os.path.basename(filename.replace("\\", "/")) or "file",
    }
    size = keep(source, path_of(row))
    return row | {"purpose": purpose, "bytes": size, "created_at": now, "expires_at": expires_at}


def keep(source: BinaryIO, path: Path) -> int:
    """Copy `source` to `path`, on the disk before it is seen, and return its size."""
    temporary = path.with_name(f".{path.name}.tmp")
    source.seek(0)
    try:
        path.parent.mkdir(exist_ok=True)
        with temporary.open("wb") as file:
            shutil.copyfileobj(source, file, 2**20)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise machine_error(error, path) from error
    return size


def check_jsonl(source: BinaryIO) -> None:
    """Raise ApiError, naming the first line that is no JSON object."""
    source.seek(0)
    number = 0
    while line := source.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            raise _no_jsonl(f"Line {number} is longer than {LINE_BYTES} bytes.")
        try:
            good = not line.strip() or isinstance(orjson.loads(line.removeprefix(b"\xef\xbb\xbf")), dict)
        except orjson.JSONDecodeError:
            good = False
        if not good:
            raise _no_jsonl(f"Line {number} is not a dictionary (HINT: line starts with: {line[:10]!r}).")


def _no_jsonl(why: str) -> ApiError:
    return ApiError(
        400, f"Expected file to have JSONL format, where every line is a JSON dictionary. {why}", None, "file"
    )


def find(db: Database, owner: str, file_id: str) -> Row:
    """Return the owner's file. Raises ApiError 404 where there is none, where it is another's, and once it has expired."""
    row = found(db, "files", "file", file_id, owner)
    if row["expires_at"] is not None and row["expires_at"] <= time.time():
        raise missing("file", file_id)
    return row


def listed(db: Database, owner: str, purpose: str | None) -> list[Row]:
    """Return the owner's files, newest first."""
    return db.rows(
        "SELECT * FROM files WHERE owner = ? AND (? IS NULL OR purpose = ?) AND (expires_at IS NULL OR expires_at > ?) "
        "ORDER BY place DESC",
        (owner, purpose, purpose, int(time.time())),
    )


def remove(db: Database, owner: str, file_id: str) -> None:
    """Delete the owner's file. Raises ApiError 400 while a job still needs it."""
    row = find(db, owner, file_id)
    with db.transaction():
        if db.rows(
            "SELECT id FROM jobs WHERE ? IN (training_file, validation_file) "
            "AND status IN ('validating_files', 'queued', 'running', 'paused')",
            (file_id,),
        ):
            raise ApiError(400, f"{file_id} is needed by a fine-tuning job; cancel the job first", "file_in_use")
        if db.rows("SELECT id FROM batches WHERE input_file = ? AND ended_at IS NULL", (file_id,)):
            raise ApiError(400, f"{file_id} is needed by a batch; cancel the batch first", "file_in_use")
        db.write("DELETE FROM files WHERE id = ?", (file_id,))
    path_of(row).unlink(missing_ok=True)


def sweep(db: Database) -> None:
    """Delete the bytes of files that have expired."""
    for row in db.rows("SELECT * FROM files WHERE expires_at <= ?", (int(time.time()),)):
        db.write("DELETE FROM files WHERE id = ?", (row["id"],))
        path_of(row).unlink(missing_ok=True)


def as_json(row: Row) -> Row:
    """Return OpenAI's FileObject."""
    shown = {name: row[name] for name in ("id", "bytes", "created_at", "filename", "purpose")}
    return {**shown, "object": "file", "status": "processed", "expires_at": row["expires_at"]}
