"""Requests of an event loop: asked of the engine at once, and awaited without a thread that waits meanwhile."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chains.models.engine import Completion, Engine, Request


async def outcomes(engine: "Engine", requests: Sequence["Request"]) -> list["Completion | Exception"]:
    """Return what `engine.outcomes` returns, awaiting; whoever is cancelled meanwhile frees the rows. Raises what it raises."""
    ended: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def tell(_: "Future[Any]") -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(ended.put_nowait, None)

    tickets = engine.submit(requests, keep=len(requests) == 1)
    try:
        for ticket in tickets:
            ticket.future.add_done_callback(tell)
        for _ in tickets:
            await ended.get()
        return [ticket.outcome() for ticket in tickets]
    finally:
        for ticket in tickets:
            if not ticket.future.done():
                ticket.cancel()


async def completions(engine: "Engine", requests: Sequence["Request"]) -> list["Completion"]:
    """Return what `outcomes` returns where all went well. Raises the first failure, when all have ended."""
    made = await outcomes(engine, requests)
    if (failed := next((each for each in made if isinstance(each, Exception)), None)) is not None:
        raise failed
    return [each for each in made if not isinstance(each, Exception)]
