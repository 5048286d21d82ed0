"""Sends events until they are taken: a 2xx ends it, anything else is tried again, ever later, for most of a day. What waits outlives a kill,
so an event may come twice; its id is then the same.

Where other machines reach this server, events go to public addresses alone, so that no key opens this machine's own network.
"""

import asyncio
import http.client
import ipaddress
import logging
import socket
import ssl
import time
from urllib.parse import urlsplit

from apps.server.database import Database, Row
from apps.server.webhooks import signing

LOOK_S = 0.25
TIMEOUT_S = 10.0
LATER_S = (5, 300, 1800, 7200, 18000, 36000)
"""How long after each failure the next try comes; after the last the event is given up."""
_log = logging.getLogger("chaintune.server")


class Refused(Exception):
    """An address that events do not go to."""


async def run(db: Database, public: bool) -> None:
    """Send what is due for as long as this task lives; `public` keeps to public addresses."""
    while True:
        await asyncio.sleep(LOOK_S)
        for row in await asyncio.to_thread(_due, db):
            await asyncio.to_thread(_try, db, row, public)


def _due(db: Database) -> list[Row]:
    return db.rows(
        "SELECT deliveries.*, url, secret, old_secret, old_until FROM deliveries JOIN webhooks ON webhooks.id = webhook "
        "WHERE next_at <= ? ORDER BY next_at LIMIT 16",
        (int(time.time()),),
    )


def _try(db: Database, row: Row, public: bool) -> None:
    """Send one event; where it is not taken, note when it is tried again."""
    try:
        status = send(row["url"], row["id"], row["body"].encode(), secrets_of(row), public)
        said = f"answered {status}"
    except (OSError, http.client.HTTPException, ValueError, Refused) as error:
        status, said = 0, f"failed: {error}"
    if 200 <= status < 300:
        db.write("DELETE FROM deliveries WHERE id = ?", (row["id"],))
    elif row["tries"] < len(LATER_S):
        later = int(time.time()) + LATER_S[row["tries"]]
        db.write("UPDATE deliveries SET tries = tries + 1, next_at = ? WHERE id = ?", (later, row["id"]))
    else:
        _log.warning("webhook %s is given up for event %s: it %s", row["url"], row["id"], said)
        db.write("DELETE FROM deliveries WHERE id = ?", (row["id"],))


def secrets_of(row: Row) -> list[str]:
    """Return the secrets that sign for an endpoint now."""
    old = row["old_secret"] if row["old_until"] and row["old_until"] > time.time() else None
    return [row["secret"], *([old] if old else [])]


def send(url: str, event_id: str, body: bytes, keys: list[str], public: bool) -> int:
    """POST a signed event and return the status; no redirect is followed. Raises OSError, HTTPException or Refused where it cannot be."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = _address(str(parts.hostname), port, public)
    plain = http.client.HTTPConnection(str(parts.hostname), port, timeout=TIMEOUT_S)
    connection = socket.create_connection(
        (address, port), TIMEOUT_S
    )  # the address that was looked at, whatever the name means later
    try:
        if parts.scheme == "https":
            connection = ssl.create_default_context().wrap_socket(connection, server_hostname=parts.hostname)
        plain.sock = connection
        headers = {
            "content-type": "application/json",
            "user-agent": "chaintune",
            **signing.headers(keys, event_id, int(time.time()), body),
        }
        plain.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
        return plain.getresponse().status
    finally:
        connection.close()


def _address(host: str, port: int, public: bool) -> str:
    found = str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
    if public and not ipaddress.ip_address(found).is_global:
        raise Refused(f"{host} is {found}, which is no public address")
    return found
