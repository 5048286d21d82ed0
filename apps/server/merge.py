"""Several streams as one."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TypeVar

Piece = TypeVar("Piece")


async def merged(streams: Sequence[AsyncIterator[Piece]]) -> AsyncGenerator[tuple[int, Piece], None]:
    """Yield (which stream, its piece) as pieces come; leaving early closes all of them."""
    heard: asyncio.Queue[tuple[int, Piece | None, BaseException | None]] = asyncio.Queue(maxsize=64)

    async def listen(place: int, stream: AsyncIterator[Piece]) -> None:
        error: BaseException | None = None
        try:
            async for piece in stream:
                await heard.put((place, piece, None))
        except Exception as caught:
            error = caught
        await heard.put((place, None, error))

    tasks = [asyncio.create_task(listen(place, stream)) for place, stream in enumerate(streams)]
    try:
        left = len(tasks)
        while left:
            place, piece, error = await heard.get()
            if error is not None:
                raise error
            if piece is None:
                left -= 1
            else:
                yield place, piece
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
