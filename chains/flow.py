"""Inputs that go their own way through a chain's steps: each takes its next step when it is ready, not when the slowest one is.

For steps whose model serves what comes when it comes (LocalChat: all meet in its engine, which so stays full). All ways are tasks of one
event loop; whoever has none of his own gets one in a thread, whose work an interrupt cancels.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ContextThreadPoolExecutor

T = TypeVar("T")
Work = Callable[[list[Any], list[RunnableConfig], Mapping[str, Any]], Awaitable[list[Any]]]
"""A chain's `aunheard`."""


async def aflow(
    work: Work, inputs: Sequence[Any], configs: Sequence[RunnableConfig], kwargs: Mapping[str, Any], lanes: int
) -> list[Any]:
    """Return the result of each input, or its exception; at most `lanes` inputs are on their way at once."""
    free = asyncio.Semaphore(lanes)

    async def one(value: Any, config: RunnableConfig) -> Any:
        async with free:
            return (await work([value], [config], kwargs))[0]

    return await asyncio.gather(*map(one, inputs, configs))


def flow(
    work: Work, inputs: Sequence[Any], configs: Sequence[RunnableConfig], kwargs: Mapping[str, Any], lanes: int
) -> list[Any]:
    """Return what aflow returns, to a caller who cannot await."""
    return _in_loop(partial(aflow, work, inputs, configs, kwargs, lanes))


def _in_loop(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return what the coroutine returns, run in a thread with this one's context. An interrupt here cancels it there."""
    began: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()

    async def work() -> T:
        began.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await make()

    with ContextThreadPoolExecutor(max_workers=1) as pool:
        done = pool.submit(lambda: asyncio.run(work()))
        try:
            return done.result()
        except (KeyboardInterrupt, SystemExit):
            loop, task = began.result()
            if task is not None and not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)
            raise
