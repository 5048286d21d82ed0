"""Routes whose requests another server answers where it has the model that is named: see upstream.py.

The body goes on as it came, so that what the other server knows beside OpenAI's fields works.
"""

import json
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from apps.server import sse
from apps.server.gate import while_here
from apps.server.ownership import check_model
from apps.server.state import State, state_of
from apps.server.upstream import Upstream


class Fronted(APIRoute):
    """A POST under /v1 that `--engine` may answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler: the engine's where it has the model, else the route's own."""
        own = super().get_route_handler()

        async def handler(request: Request) -> Response:
            state = state_of(request)
            if state.engine is None:
                return await own(request)
            body = await request.body()
            model, stream = _asked(body)
            if model not in await state.engine.models():
                return await own(request)
            check_model(request, model)
            path = self.path.removeprefix("/v1")
            if stream:
                return await sse.streamed(request, _events(state, state.engine, path, body))
            return JSONResponse(await while_here(request, _whole(state, state.engine, path, body)))

        return handler


async def _whole(state: State, engine: Upstream, path: str, body: bytes) -> dict[str, Any]:
    with state.gate.enter(1):
        return await engine.answer(path, body)


async def _events(state: State, engine: Upstream, path: str, body: bytes) -> Any:
    with state.gate.enter(1):
        async with aclosing(engine.events(path, body)) as events:
            async for event in events:
                yield event


def _asked(body: bytes) -> tuple[str, bool]:
    """Return the model that a body names ("" where it names none, which the route itself refuses), and whether it wants a stream."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return "", False
    if not isinstance(found, dict) or not isinstance(found.get("model"), str):
        return "", False
    return found["model"], found.get("stream") is True
