"""Who else may use a key's fine-tuned model: one row of `server.db` for each model and key."""

import time
from collections.abc import Sequence

from apps.server.database import Database, Row, new_id
from apps.server.errors import ApiError, missing


def grant(db: Database, model: str, projects: Sequence[str]) -> list[Row]:
    """Give each of the keys `projects` its permission and return the permissions. Raises ApiError where one is no key."""
    with db.transaction():
        for project in projects:
            if not db.rows("SELECT id FROM keys WHERE id = ? AND revoked_at IS NULL", (project,)):
                raise ApiError(400, f"there is no key {project!r}; see: chaintune keys list", None, "project_ids")
            db.write(
                "INSERT OR IGNORE INTO permissions (id, model, project, created_at) VALUES (?, ?, ?, ?)",
                (new_id("cp_"), model, project, int(time.time())),
            )
        given = [listed(db, model, project)[0] for project in dict.fromkeys(projects)]
    return given


def listed(db: Database, model: str, project: str | None = None) -> list[Row]:
    """Return the permissions of a model (of one key, where it is named), newest first."""
    return db.rows(
        "SELECT * FROM permissions WHERE model = ? AND (? IS NULL OR project = ?) ORDER BY place DESC",
        (model, project, project),
    )


def remove(db: Database, model: str, permission_id: str) -> None:
    """Take a permission back. Raises ApiError 404 where the model has none of this id."""
    if not db.write("DELETE FROM permissions WHERE id = ? AND model = ?", (permission_id, model)):
        raise missing("permission", permission_id)


def as_json(row: Row) -> Row:
    """Return OpenAI's checkpoint.permission."""
    shown = {name: row[name] for name in ("id", "created_at")}
    return {**shown, "object": "checkpoint.permission", "project_id": row["project"]}
