"""Runs the server until it is told to stop: what is under way is finished first, for a while."""

import asyncio
import math
from collections.abc import Callable

import uvicorn

from apps.server.app import create
from apps.server.gate import Gate
from apps.server.settings import Settings

HEADER_BYTES = 16 * 1024
TELL_S = 2
"""How long it may take to tell clients that their answers end."""


class _Server(uvicorn.Server):
    """uvicorn's, which says when it listens, and to its clients when it stops."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], gate: Gate, drain_s: float) -> None:
        super().__init__(config)
        self._ready, self._gate, self._drain_s = ready, gate, drain_s

    async def startup(self, sockets: list | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list | None = None) -> None:
        """Wait for the answers under way; those that have not ended in time are told so."""
        closing = asyncio.get_running_loop().call_later(self._drain_s, self._gate.close)
        await super().shutdown(sockets=sockets)
        closing.cancel()


def run(settings: Settings, drain_s: float, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is called once requests are taken, and `drain_s` is how long open ones may go on."""
    app = create(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http="h11",
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_graceful_shutdown=math.ceil(drain_s) + TELL_S,
    )
    _Server(config, ready, app.state.server.gate, drain_s).run()
