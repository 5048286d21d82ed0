"""Server-sent events, as OpenAI's clients read them."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from apps.server.errors import as_api_error
from apps.server.gate import while_here

DONE = "data: [DONE]\n\n"


def event(value: Any, name: str | None = None) -> str:
    """Return one event that carries JSON, under a name where it has one."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value, ensure_ascii=False)}\n\n"


async def streamed(request: Request, events: AsyncGenerator[str | bytes, None]) -> StreamingResponse:
    """Return the response that sends `events`; what goes wrong before the first one is raised, so that it has its own status."""
    first = await while_here(request, anext(events))

    async def rest() -> AsyncIterator[str | bytes]:
        async with aclosing(events):
            yield first
            try:
                with request.app.state.server.gate.until_closed():
                    async for each in events:
                        yield each
            except Exception as error:  # the status has been sent: the client hears of it in the stream
                yield event(as_api_error(error).body)

    return StreamingResponse(rest(), media_type="text/event-stream", headers={"cache-control": "no-cache"})
