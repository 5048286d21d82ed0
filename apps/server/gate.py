"""How many answers may be under way, and how a request is left when its client is."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import Request

from chains.errors import BusyError


class Gone(Exception):
    """The client went away; nobody is left to tell."""


class Gate:
    """Counts the answers under way over all models."""

    def __init__(self, most: int) -> None:
        self.most, self.within = most, 0

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


async def while_here(request: Request, work: Awaitable[Any]) -> Any:
    """Return what `work` gives; where the client goes away first, `work` is cancelled and Gone is raised."""
    task, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
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
