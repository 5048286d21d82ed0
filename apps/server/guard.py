"""What every request passes before any route: the name it calls the server by, its size, its key. Default deny.

The path is the one that was routed (`scope`), never one that is put together from the Host header.
"""

import re
import secrets
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from apps.server.errors import ApiError
from apps.server.rates import Rates
from apps.server.settings import LOOPBACK, Settings

OPEN_PATHS = frozenset({"/health", "/ready"})
"""Served without a key, under exactly these names."""
FILE_PATHS = re.compile(r"/v1/(files|uploads/[^/]+/parts)")
MULTIPART_EXTRA = 2**16
"""What a form adds around its file, in bytes."""

Authenticate = Callable[[str | None], str]
"""Returns the owner for the Authorization header, or raises ApiError."""


class Guard:
    """An ASGI middleware; the request's owner is in `scope["state"]["owner"]` behind it."""

    def __init__(self, app: ASGIApp, settings: Settings, authenticate: Authenticate) -> None:
        self.app, self.settings, self.authenticate = app, settings, authenticate
        self.rates = Rates(settings.requests_per_minute)
        self.hosts = {*settings.hosts} if settings.hosts and settings.open else {*LOOPBACK, *settings.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        known = _with_id(send, f"req_{secrets.token_hex(12)}")
        if "owner" in scope.get("state", {}):  # asked by this server itself: nothing of `state` comes from outside
            return await self.app(scope, receive, known)
        try:
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            self._check_host(headers.get("host", ""))
            if scope["path"] not in OPEN_PATHS:
                owner = self.authenticate(headers.get("authorization"))
                self.rates.count(owner)
                scope.setdefault("state", {})["owner"] = owner
            receive = self._limited(scope["path"], headers, receive)
        except ApiError as error:
            return await error.response()(scope, receive, known)
        await self.app(scope, receive, known)

    def _check_host(self, given: str) -> None:
        """A page elsewhere can make its own name mean this machine; a browser then still sends that name."""
        if self.settings.open and not self.settings.hosts:
            return
        name = given.rsplit(":", 1)[0] if re.search(r":\d+$", given) else given
        if name.strip("[]").lower() not in self.hosts:
            raise ApiError(
                403, f"this server is not called {name!r}; allow the name with: chaintune serve --allow-host"
            )

    def _limited(self, path: str, headers: dict[str, str], receive: Receive) -> Receive:
        """Return `receive` under the path's body limit, refusing a declared length at once."""
        takes_file = FILE_PATHS.fullmatch(path) is not None
        most = self.settings.max_file_bytes + MULTIPART_EXTRA if takes_file else self.settings.max_body_bytes
        declared = headers.get("content-length", "0")
        if not declared.isdigit() or int(declared) > most:
            raise _too_large(most)
        taken = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise HTTPException(
                    413, _too_large(most).message
                )  # the one kind that FastAPI lets through while it reads
            return message

        return counted


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"the body is larger than {most} bytes, the most that is taken here; send less", "too_large")


def _with_id(send: Send, request_id: str) -> Send:
    async def named(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
        await send(message)

    return named
