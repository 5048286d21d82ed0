"""Lists that grow, kept so that what they share is stored once: a conversation of n turns takes space for n messages, not for n².

A thread is a list's item after another thread; both are known by the hash of what they hold. Short lists stay in the run's own row.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import apsw
import orjson

from chains.runs import store

SHORT = 512
"""The most characters of JSON that a list may take in the run's own row."""

_READ = """WITH RECURSIVE back (before, item, depth) AS (
    SELECT before, item, 0 FROM threads WHERE hash = ?1
    UNION ALL SELECT threads.before, threads.item, depth + 1 FROM back JOIN threads ON threads.hash = back.before
) SELECT body FROM back JOIN items ON items.hash = back.item ORDER BY depth DESC"""


def write(db: apsw.Connection, values: Sequence[Any]) -> bytes:
    """Keep the list `values`, which is not empty, and return its thread's hash."""
    before: bytes | None = None
    hashes: list[tuple[bytes, bytes | None, bytes]] = []
    bodies: list[tuple[bytes, str]] = []
    for value in values:
        body = _dumped(value)
        item = _hash(body)
        bodies.append((item, body.decode()))
        thread = _hash((before or b"") + item)
        hashes.append((thread, before, item))
        before = thread
    known = db.execute("SELECT 1 FROM threads WHERE hash = ?", (hashes[-1][0],)).fetchall()
    if not known:
        db.executemany("INSERT OR IGNORE INTO items VALUES (?, ?)", bodies)
        db.executemany("INSERT OR IGNORE INTO threads VALUES (?, ?, ?)", hashes)
    return hashes[-1][0]


def read(hash: bytes) -> list[Any]:
    """Return the list whose thread this is."""
    return [orjson.loads(body) for (body,) in store.rows(_READ, (hash,))]


def _dumped(value: Any) -> bytes:
    return orjson.dumps(value)


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
