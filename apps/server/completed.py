"""Awaits what the engine makes of requests, without a thread; leaving early frees their rows."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chains.models.engine import Completion, Engine, Request


async def completed(engine: "Engine", requests: "Sequence[Request]") -> "list[Completion]":
    """Return the completion of each request. One alone may begin a conversation, whose prompt is then kept."""
    tickets = await asyncio.to_thread(engine.submit, requests, len(requests) == 1)
    try:
        return list(await asyncio.gather(*(asyncio.wrap_future(ticket.future) for ticket in tickets)))
    finally:
        for ticket in tickets:
            if not ticket.future.done():
                ticket.cancel()
