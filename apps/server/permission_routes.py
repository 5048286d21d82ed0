"""/v1/fine_tuning/checkpoints/…/permissions: the owner of a fine-tuned model or checkpoint lets other keys use it.

A project is a key here: its id is the one that `chaintune keys list` shows. OpenAI wants an administrator's key for these routes; here
it is the owner's.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field, StringConstraints

from apps.server import permissions, promised
from apps.server.chat_request import Body
from apps.server.database import Database
from apps.server.errors import ApiError
from apps.server.ownership import check_own, owner_in
from apps.server.pages import page
from apps.server.state import state_of
from apps.server.warm import served

router = APIRouter()
PATH = "/v1/fine_tuning/checkpoints/{checkpoint}/permissions"
KeyId = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Grant(Body):
    """The body that gives permissions: the ids of keys."""

    project_ids: Annotated[list[KeyId], Field(min_length=1, max_length=100)]


@router.post(PATH, responses=promised.answers(promised.Page[promised.Permission]))
async def create_permissions(checkpoint: str, body: Grant, request: Request) -> Any:
    """Let other keys use a model; one that may already keeps its permission."""
    db, model = _owned(request, checkpoint)
    rows = permissions.grant(db, model, body.project_ids)
    return page(rows, None, len(rows), permissions.as_json)


@router.get(PATH, responses=promised.answers(promised.Page[promised.Permission]))
async def list_permissions(
    checkpoint: str,
    request: Request,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    order: Literal["ascending", "descending"] = "descending",
    project_id: str | None = None,
) -> Any:
    """List the permissions of a model, newest first."""
    db, model = _owned(request, checkpoint)
    rows = permissions.listed(db, model, project_id)
    return page(rows if order == "descending" else rows[::-1], after, limit, permissions.as_json)


@router.delete(PATH + "/{permission_id}", responses=promised.answers(promised.Deleted))
async def delete_permission(checkpoint: str, permission_id: str, request: Request) -> Any:
    """Take a permission back."""
    db, model = _owned(request, checkpoint)
    permissions.remove(db, model, permission_id)
    return {"id": permission_id, "object": "checkpoint.permission", "deleted": True}


def _owned(request: Request, checkpoint: str) -> tuple[Database, str]:
    """Return the database and the model that a name, or the id of a checkpoint, stands for. Raises ApiError where it is not the caller's own."""
    state = state_of(request)
    found = state.db.rows("SELECT model FROM checkpoints WHERE id = ?", (checkpoint,))
    model = str(found[0]["model"]) if found else checkpoint
    check_own(request, model)
    served(model, state.settings)
    if owner_in(state.db, model) is None:
        raise ApiError(
            400, f"{model!r} is everybody's; only a model that a job made here has permissions", param="model"
        )
    return state.db, model
