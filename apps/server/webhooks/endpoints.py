"""Where events go, and the events that wait to be sent: rows of `server.db`, written together with what they tell of."""

import json
import time
from collections.abc import Sequence
from typing import Any

from apps.server.database import Database, Row, new_id
from apps.server.lookup import found
from apps.server.webhooks import signing

JOBS = tuple(f"fine_tuning.job.{status}" for status in ("succeeded", "failed", "cancelled"))
BATCHES = tuple(f"batch.{status}" for status in ("completed", "failed", "expired", "cancelled"))
EVENTS = JOBS + BATCHES
OLD_SECRET_S = 24 * 3600


def create(db: Database, owner: str, name: str, url: str, events: Sequence[str]) -> Row:
    """Keep an endpoint and return it, its secret with it."""
    now = int(time.time())
    row = {"id": new_id("we_"), "owner": owner, "name": name, "url": url, "events": json.dumps(events),
           "secret": signing.new_secret(), "created_at": now, "updated_at": now}  # fmt: skip
    db.add("webhooks", **row)
    return find(db, owner, str(row["id"]))


def find(db: Database, owner: str, hook_id: str) -> Row:
    """Return the owner's endpoint. Raises ApiError 404 where there is none, or it is another's."""
    return found(db, "webhooks", "webhook endpoint", hook_id, owner)


def listed(db: Database, owner: str) -> list[Row]:
    """Return the owner's endpoints, newest first."""
    return db.rows("SELECT * FROM webhooks WHERE owner = ? ORDER BY place DESC", (owner,))


def change(db: Database, owner: str, hook_id: str, **columns: Any) -> Row:
    """Change what is given of an endpoint and return it."""
    find(db, owner, hook_id)
    values = {**columns, "updated_at": int(time.time())}
    names = ", ".join(f"{name} = ?" for name in values)
    db.write(f"UPDATE webhooks SET {names} WHERE id = ?", [*values.values(), hook_id])
    return find(db, owner, hook_id)


def rotate(db: Database, owner: str, hook_id: str, keep_old: bool) -> Row:
    """Give an endpoint another secret and return it; the old one signs beside it for a day where that is wanted."""
    row = find(db, owner, hook_id)
    until = int(time.time()) + OLD_SECRET_S
    old = {"old_secret": row["secret"], "old_until": until} if keep_old else {"old_secret": None, "old_until": None}
    return change(db, owner, hook_id, secret=signing.new_secret(), **old)


def remove(db: Database, owner: str, hook_id: str) -> None:
    """Delete an endpoint, and what still waits for it."""
    find(db, owner, hook_id)
    with db.transaction():
        db.write("DELETE FROM webhooks WHERE id = ?", (hook_id,))
        db.write("DELETE FROM deliveries WHERE webhook = ?", (hook_id,))


def notify(db: Database, owner: str, kind: str, object_id: str) -> None:
    """Put an event into the queue of each endpoint of the owner that wants it; within the transaction of what it tells of."""
    now = int(time.time())
    for hook in listed(db, owner):
        if kind in json.loads(hook["events"]):
            event_id = new_id("evt_")
            db.add(
                "deliveries",
                id=event_id,
                webhook=hook["id"],
                body=body(event_id, kind, object_id, now),
                tries=0,
                next_at=now,
            )


def body(event_id: str, kind: str, object_id: str, now: int) -> str:
    """Return an event as it is sent, every time the same."""
    return json.dumps({"id": event_id, "object": "event", "created_at": now, "type": kind, "data": {"id": object_id}})


def as_json(row: Row, with_secret: bool = False) -> Row:
    """Return OpenAI's WebhookEndpoint; the secret is shown once."""
    shown = {name: row[name] for name in ("id", "name", "url", "created_at", "updated_at")}
    secret = {"signing_secret": row["secret"]} if with_secret else {}
    hint = f"{signing.PREFIX}…{row['secret'][-4:]}"
    return {
        **shown,
        "object": "webhook_endpoint",
        "event_types": json.loads(row["events"]),
        "signing_secret_hint": hint,
        **secret,
    }
