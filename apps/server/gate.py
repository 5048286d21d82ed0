"""How many answers may be under way, and how a request is left when its client is."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import Request

from apps.server.errors import RETRY_S, ApiError
from chains.errors import BusyError


class Gone(Exception):
    """The client went away; nobody is left to tell."""


class Gate:
    """Counts the answers under way over all models."""

    def __init__(self, most: int) -> None:
        self.most, self.within = most, 0
        self._closed = False
        self._told: set[asyncio.Task[Any]] = set()

    @contextmanager
    def enter(self, rows: int) -> Iterator[None]:
        """Count `rows` answers while the block runs. Raises BusyError where they would be too many."""
        if self.within and self.within + rows > self.most:
            raise BusyError(f"{self.within} answers are under way, and {self.most} is the most; try again later")
        self.within += rows
        try:
            yield
        finally:
            self.within -= rows

    def close(self) -> None:
        """End the answers under way, each with an error that its client gets."""
        self._closed = True
        for task in self._told:
            task.cancel()

    @contextmanager
    def until_closed(self) -> Iterator[None]:
        """Raise ApiError 503 in the block, which this task runs, once the server stops."""
        task = asyncio.current_task()
        assert task is not None
        if self._closed:
            raise _stopping()
        self._told.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._closed:
                raise
            task.uncancel()
            raise _stopping() from None
        finally:
            self._told.discard(task)


def _stopping() -> ApiError:
    said = "the server is stopping, and this answer with it; ask again when it is back"
    return ApiError(503, said, "server_stopping", headers={"Retry-After": str(RETRY_S)})


async def while_here(request: Request, work: Awaitable[Any]) -> Any:
    """Return what `work` gives; where the client goes away first, or the server stops, `work` is cancelled. Raises Gone, or ApiError 503."""
    task, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        with request.app.state.server.gate.until_closed():
            await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Gone
        return task.result()
    finally:
        leaving.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
