"""Files that come in parts: each part is on the disk before it is acknowledged, and the whole appears as a file at once."""

import hashlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from apps.server import files
from apps.server.database import Database, Row, new_id
from apps.server.errors import ApiError
from apps.server.lookup import found
from chains.home import home

LASTS_S = 3600
MOST_PART = 64 * 2**20
MOST_BYTES = 8 * 2**30


def create(
    db: Database, owner: str, filename: str, purpose: str, size: int, mime_type: str, expires_s: int | None
) -> Row:
    """Begin an upload and return it; it must be complete within an hour."""
    row = {"id": new_id("upload_"), "owner": owner, "filename": filename, "purpose": purpose, "bytes": size, "mime_type": mime_type,
           "created_at": int(time.time()), "expires_s": expires_s, "status": "pending"}  # fmt: skip
    db.add("uploads", **row)
    return find(db, owner, str(row["id"]))


def find(db: Database, owner: str, upload_id: str) -> Row:
    """Return the owner's upload. Raises ApiError 404 where there is none, or it is another's."""
    row = found(db, "uploads", "upload", upload_id, owner)
    late = row["status"] == "pending" and row["created_at"] + LASTS_S <= time.time()
    return {**row, "status": "expired"} if late else row


def pending(db: Database, owner: str, upload_id: str) -> Row:
    """Return the owner's upload. Raises ApiError 400 where it takes nothing more."""
    row = find(db, owner, upload_id)
    if row["status"] != "pending":
        raise ApiError(400, f"upload {upload_id} is {row['status']}; begin a new one", "invalid_state")
    return row


def add_part(db: Database, owner: str, upload_id: str, data: BinaryIO) -> Row:
    """Keep one part and return it. Raises ApiError where the parts are more than the upload was to be."""
    upload = pending(db, owner, upload_id)
    row: Row = {"id": new_id("part_"), "upload": upload_id, "created_at": int(time.time())}
    row["bytes"] = files.keep(data, _path(row))
    most = min(MOST_PART, upload["bytes"])
    if row["bytes"] > most:
        _path(row).unlink()
        raise ApiError(
            413, f"the part has {row['bytes']} bytes, and one of this upload has at most {most}", "too_large", "data"
        )
    db.add("parts", **row)
    return row


def complete(db: Database, owner: str, upload_id: str, part_ids: Sequence[str], md5: str | None) -> Row:
    """Make the parts, in the order given, a file and return the upload. Asked again for one that is complete, it is the same."""
    done = find(db, owner, upload_id)
    if done["status"] == "completed":
        return done
    upload = pending(db, owner, upload_id)
    known = {row["id"]: row for row in db.rows("SELECT * FROM parts WHERE upload = ?", (upload_id,))}
    if unknown := next((part for part in part_ids if part not in known), None):
        raise ApiError(400, f"{unknown!r} is no part of this upload", param="part_ids")
    size = sum(known[part]["bytes"] for part in part_ids)
    if size != upload["bytes"] or len(set(part_ids)) < len(part_ids):
        raise ApiError(
            400, f"the parts have {size} bytes together, and the upload was to have {upload['bytes']}", param="part_ids"
        )
    with tempfile.TemporaryFile(dir=home() / "files") as whole:
        _check_md5(_join(whole, [_path(known[part]) for part in part_ids]), md5)
        row = files.kept(owner, upload["filename"], upload["purpose"], whole, upload["expires_s"])
    with db.transaction():
        pending(db, owner, upload_id)
        db.add("files", **row)
        db.write("UPDATE uploads SET status = 'completed', file = ? WHERE id = ?", (row["id"], upload_id))
    _forget_parts(db, upload_id)
    return find(db, owner, upload_id)


def _join(whole: Any, paths: Sequence[Path]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for path in paths:
        with path.open("rb") as part:
            while piece := part.read(2**20):
                digest.update(piece)
                whole.write(piece)
    return digest.hexdigest()


def _check_md5(found: str, wanted: str | None) -> None:
    if wanted is not None and wanted.lower() != found:
        raise ApiError(
            400, f"the parts' md5 is {found}, and {wanted!r} was expected; send the parts again", param="md5"
        )


def cancel(db: Database, owner: str, upload_id: str) -> Row:
    """End an upload without a file and return it. Raises ApiError 400 where it has ended."""
    with db.transaction():
        pending(db, owner, upload_id)
        db.write("UPDATE uploads SET status = 'cancelled' WHERE id = ?", (upload_id,))
    _forget_parts(db, upload_id)
    return find(db, owner, upload_id)


def _forget_parts(db: Database, upload_id: str) -> None:
    for row in db.rows("SELECT id FROM parts WHERE upload = ?", (upload_id,)):
        _path(row).unlink(missing_ok=True)
    db.write("DELETE FROM parts WHERE upload = ?", (upload_id,))


def sweep(db: Database) -> None:
    """Delete the parts of uploads that were never completed."""
    for row in db.rows(
        "SELECT id FROM uploads WHERE status != 'pending' OR created_at <= ?", (int(time.time()) - LASTS_S,)
    ):
        _forget_parts(db, row["id"])


def _path(row: Row) -> Path:
    return home() / "files" / f"{row['id']}.bin"


def as_json(db: Database, row: Row) -> Row:
    """Return OpenAI's Upload."""
    shown = {name: row[name] for name in ("id", "bytes", "created_at", "filename", "purpose", "status")}
    found = db.rows("SELECT * FROM files WHERE id = ?", (row["file"],))
    file = files.as_json(found[0]) if found else None
    return {**shown, "object": "upload", "expires_at": row["created_at"] + LASTS_S, "file": file}


def part_as_json(row: Row) -> Row:
    """Return OpenAI's UploadPart."""
    return {"id": row["id"], "object": "upload.part", "created_at": row["created_at"], "upload_id": row["upload"]}
