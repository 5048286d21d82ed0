"""Whose a model is: a key's own fine-tuned models are not there for anybody else; all others are everybody's."""

from fastapi import Request

from apps.server.database import Database
from apps.server.errors import ApiError
from apps.server.state import owner_of, state_of


def check_model(request: Request, name: str) -> None:
    """Raise ApiError 404 where the model `name` is another owner's."""
    found = state_of(request).db.rows("SELECT owner FROM models WHERE name = ?", (name,))
    if found and found[0]["owner"] != owner_of(request):
        raise ApiError(404, f"The model {name!r} does not exist or you do not have access to it.", "model_not_found", "model")  # fmt: skip


def hidden(db: Database, owner: str) -> set[str]:
    """Return the names of the models that are others'."""
    return {row["name"] for row in db.rows("SELECT name FROM models WHERE owner != ?", (owner,))}
