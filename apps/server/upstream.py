"""Another server of OpenAI's API, such as vLLM, that answers for the models it has: `chaintune serve --engine URL`.

What it has is asked of it, and asked again after LISTED_S. Its stream is passed on event by event, its errors in OpenAI's shape.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from apps.server.errors import RETRY_S, ApiError

if TYPE_CHECKING:
    import httpx

LISTED_S = 10.0
"""How long a list of models counts."""
CONNECT_S, READ_S = 5.0, 600.0
_END = re.compile(rb"\r?\n\r?\n")


class Upstream:
    """The other server, under its base URL (which ends with /v1), and the key that opens it."""

    def __init__(self, url: str, key: str = "") -> None:
        import httpx  # here, and not at the first request, whose event loop it would hold

        self.url = url
        self._models: dict[str, dict[str, Any]] = {}
        self._asked_at, self._known = 0.0, False
        self._listing = asyncio.Lock()
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
        timeout = httpx.Timeout(READ_S, connect=CONNECT_S)
        self._client = httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=timeout)

    async def models(self) -> dict[str, dict[str, Any]]:
        """Return its models by name, those that it had last where it cannot be reached. Raises ApiError where it never could be."""
        async with self._listing:
            if not self._known or time.monotonic() - self._asked_at > LISTED_S:
                try:
                    self._models, self._known = _rows(await self._whole("GET", "/models")), True
                except ApiError:
                    if not self._known:
                        raise
                self._asked_at = time.monotonic()
        return self._models

    async def answer(self, path: str, body: bytes) -> dict[str, Any]:
        """Return the JSON that a POST gives. Raises ApiError where it is no success."""
        return await self._whole("POST", path, body)

    async def events(self, path: str, body: bytes) -> AsyncGenerator[bytes, None]:
        """Yield the server-sent events that a POST gives, whole ones alone. Raises ApiError where it is no success or breaks off."""
        import httpx

        rest = b""
        try:
            async with self._client.stream("POST", path, content=body) as reply:
                if reply.status_code != 200:
                    await reply.aread()
                    raise self._failed(reply)
                async for piece in reply.aiter_bytes():
                    rest += piece
                    if ended := max((found.end() for found in _END.finditer(rest)), default=0):
                        yield rest[:ended]
                        rest = rest[ended:]
            if rest.strip():
                raise ApiError(
                    502, f"the engine at {self.url} ended its stream in the middle of an event", "engine_error"
                )
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    async def close(self) -> None:
        """Let its connections go."""
        await self._client.aclose()

    async def _whole(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        import httpx

        try:
            reply = await self._client.request(method, path, content=body)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if reply.status_code != 200:
            raise self._failed(reply)
        if isinstance(found := _json(reply), dict):
            return found
        raise ApiError(
            502, f"the engine at {self.url} answers {path} with no JSON object; is it a server of OpenAI's API?"
        )

    def _unreachable(self, error: Exception) -> ApiError:
        said = str(error) or type(error).__name__
        retry = {"Retry-After": str(RETRY_S)}
        return ApiError(
            503,
            f"the engine at {self.url} cannot be reached ({said}); is it running?",
            "engine_unreachable",
            headers=retry,
        )

    def _failed(self, reply: "httpx.Response") -> ApiError:
        """Return what a client hears of an answer that is no success; this server's own key and the engine's faults are not its doing."""
        status, told = reply.status_code, _told(reply)
        if status in (401, 403):
            return ApiError(
                502,
                f"the engine at {self.url} refuses this server's key; start it with CHAINTUNE_ENGINE_KEY set",
                "engine_key",
            )
        if status >= 500 or status < 400:
            return ApiError(
                502, f"the engine at {self.url} failed with status {status}: {told['message']}", "engine_error"
            )
        headers = {"Retry-After": reply.headers.get("retry-after", str(RETRY_S))} if status == 429 else None
        return ApiError(status, told["message"], told["code"], told["param"], headers)


def _rows(listed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return OpenAI's Model objects by name from a list of models."""
    rows = [row for row in listed.get("data") or [] if isinstance(row, dict) and isinstance(row.get("id"), str)]
    return {
        row["id"]: {
            "id": row["id"],
            "object": "model",
            "created": row["created"] if isinstance(row.get("created"), int) else 0,
            "owned_by": str(row.get("owned_by") or "engine"),
        }
        for row in rows
    }


def _json(reply: "httpx.Response") -> Any:
    try:
        return json.loads(reply.content)
    except ValueError:
        return None


def _told(reply: "httpx.Response") -> dict[str, Any]:
    """Return the message, code and param of an error: OpenAI's shape, the same without its frame, or FastAPI's `detail`."""
    found = _json(reply)
    row = found.get("error", found) if isinstance(found, dict) else {}
    row = row if isinstance(row, dict) else {"message": row}
    text = row.get("message") or row.get("detail") or reply.text[:500] or reply.reason_phrase
    code, param = (row.get(name) if isinstance(row.get(name), str) else None for name in ("code", "param"))
    return {"message": text if isinstance(text, str) else json.dumps(text), "code": code, "param": param}
