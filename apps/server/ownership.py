"""Whose a model is: a key's own fine-tuned models are not there for anybody else but those it has permitted; all others are everybody's."""

from fastapi import Request

from apps.server.database import Database
from apps.server.errors import ApiError
from apps.server.state import owner_of, state_of

PERMITTED = "SELECT model FROM permissions WHERE project = ?"


def check_model(request: Request, name: str) -> None:
    """Raise ApiError 404 where the model `name` is another owner's, who has not permitted it."""
    if name in hidden(state_of(request).db, owner_of(request), name):
        raise ApiError(404, f"The model {name!r} does not exist or you do not have access to it.", "model_not_found", "model")  # fmt: skip


def check_own(request: Request, name: str) -> None:
    """Raise ApiError where the model `name` is another owner's: 404 where it is hidden, 403 where it is permitted."""
    check_model(request, name)
    if owner_in(state_of(request).db, name) not in (None, owner_of(request)):
        raise ApiError(403, f"{name!r} is another key's, which lets you use it; only its owner may do this", param="model")  # fmt: skip


def owner_in(db: Database, name: str) -> str | None:
    """Return whose model `name` is; None where it is everybody's."""
    found = db.rows("SELECT owner FROM models WHERE name = ?", (name,))
    return str(found[0]["owner"]) if found else None


def hidden(db: Database, owner: str, name: str | None = None) -> set[str]:
    """Return the names of the models that are others' and not permitted; of the one `name`, where it is given."""
    rows = db.rows(
        f"SELECT name FROM models WHERE owner != ? AND (? IS NULL OR name = ?) AND name NOT IN ({PERMITTED})",
        (owner, name, name, owner),
    )
    return {row["name"] for row in rows}
