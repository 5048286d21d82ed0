"""A request that this server asks itself: the same route, the same checks and the same errors as from outside, under its owner's name."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp

Message = MutableMapping[str, Any]


async def ask(app: ASGIApp, path: str, owner: str, body: bytes) -> tuple[int, str, bytes]:
    """Return the status, the request's id and the body that a POST gives."""
    sent, started = bytearray(), dict[str, Any]()
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # nobody goes away
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        started.update({} if message["type"] == "http.response.body" else message)
        sent.extend(message.get("body", b""))

    headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http", "path": path,
        "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": headers, "client": None, "server": None,
        "state": {"owner": owner},
    }  # fmt: skip
    await app(scope, receive, send)
    named = {name.decode(): value.decode() for name, value in started["headers"]}
    return int(started["status"]), named.get("x-request-id", ""), bytes(sent)
