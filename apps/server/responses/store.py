"""Responses that are kept, each with its own input; what came before it is found by its previous one."""

import json
import time
from typing import Any

from apps.server.database import Database, Row
from apps.server.errors import ApiError
from apps.server.lookup import found

KEPT_S = 30 * 24 * 3600
MOST_TURNS = 1000


def keep(db: Database, owner: str, response: dict[str, Any], items: list[dict[str, Any]]) -> None:
    """Keep a response with the items that it answers."""
    db.add("responses", id=response["id"], owner=owner, created_at=response["created_at"], previous=response["previous_response_id"],
           response=json.dumps(response), input=json.dumps(items))  # fmt: skip


def find(db: Database, owner: str, response_id: str) -> Row:
    """Return the owner's response. Raises ApiError 404 where there is none, or it is another's."""
    return found(db, "responses", "response", response_id, owner)


def before(db: Database, owner: str, response_id: str | None) -> list[dict[str, Any]]:
    """Return all items up to and with a response's output, oldest first. Raises ApiError 400 where one of the conversation is gone."""
    turns: list[list[dict[str, Any]]] = []
    while response_id is not None:
        try:
            row = find(db, owner, response_id)
        except ApiError as error:
            said = f"Previous response with id {response_id!r} not found."
            raise ApiError(400, said, "previous_response_not_found", "previous_response_id") from error
        turns.append([*json.loads(row["input"]), *json.loads(row["response"])["output"]])
        response_id = row["previous"]
        if len(turns) > MOST_TURNS:
            raise ApiError(
                400, f"the conversation has more than {MOST_TURNS} turns; begin a new one", param="previous_response_id"
            )
    return [item for turn in reversed(turns) for item in turn]


def remove(db: Database, owner: str, response_id: str) -> None:
    """Delete the owner's response."""
    find(db, owner, response_id)
    db.write("DELETE FROM responses WHERE id = ?", (response_id,))


def input_items(row: Row) -> list[Row]:
    """Return what a response answers, each item with an id, newest first."""
    return [{"id": f"item_{row['id'][5:]}_{place}", **item} for place, item in enumerate(json.loads(row["input"]))][
        ::-1
    ]


def sweep(db: Database) -> None:
    """Delete what is older than it is kept."""
    db.write("DELETE FROM responses WHERE created_at <= ?", (int(time.time()) - KEPT_S,))
