"""API keys: `sk-ct-<id>-<secret>`. Only the secret's SHA-256 is kept, and it is compared in constant time.

The secret is 256 random bits, so that a fast hash is enough; the id finds the row.
"""

import hashlib
import hmac
import re
import secrets
import time

from apps.server.database import Database, Row, new_id
from apps.server.errors import ApiError
from chains.errors import UsageError

_FORM = re.compile(r"sk-ct-([0-9a-f]{24})-([\w-]{43})", re.ASCII)
_NOBODY = hashlib.sha256(b"").hexdigest()


def create(db: Database, name: str) -> tuple[str, str]:
    """Return (id, key) of a new key; the key is shown this once."""
    key_id, secret = new_id(""), secrets.token_urlsafe(32)
    db.add("keys", id=key_id, name=name, hash=_hashed(secret), created_at=int(time.time()))
    return key_id, f"sk-ct-{key_id}-{secret}"


def listed(db: Database) -> list[Row]:
    """Return every key, without what opens anything."""
    return db.rows("SELECT id, name, created_at, revoked_at FROM keys ORDER BY place")


def revoke(db: Database, key_id: str) -> None:
    """Let a key open nothing any more. Raises UsageError where there is none."""
    now = int(time.time())
    if not db.write("UPDATE keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?", (now, key_id)):
        raise UsageError(f"there is no key {key_id!r}; see: chaintune keys list")


def owner(db: Database, authorization: str | None, required: bool) -> str:
    """Return whose request carries this header: a key's id, or "" where none is needed and none of ours is given.

    Raises ApiError 401 for a key of ours that is wrong or revoked, and for anything else where a key is required.
    """
    scheme, _, given = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and given.strip().startswith("sk-ct-"):
        return _checked(db, given.strip())
    if required:
        raise _refused("an API key is required; send it as 'Authorization: Bearer sk-ct-…'")
    return ""


def _checked(db: Database, given: str) -> str:
    form = _FORM.fullmatch(given)
    key_id, secret = form.groups() if form else ("", "")
    rows = db.rows("SELECT hash FROM keys WHERE id = ? AND revoked_at IS NULL", (key_id,))
    kept = str(rows[0]["hash"]) if rows else _NOBODY
    if not (hmac.compare_digest(_hashed(secret), kept) and rows):
        raise _refused("this API key is wrong or revoked; make one with: chaintune keys create")
    return key_id


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _refused(message: str) -> ApiError:
    return ApiError(401, message, "invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
