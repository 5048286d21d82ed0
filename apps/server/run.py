"""Runs the server until it is told to stop: what is under way is finished first, for a while."""

from collections.abc import Callable

import uvicorn

from apps.server.app import create
from apps.server.settings import Settings

HEADER_BYTES = 16 * 1024


class _Server(uvicorn.Server):
    """uvicorn's, which says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()


def run(settings: Settings, drain_s: int, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is called once requests are taken, and `drain_s` is how long open ones may go on."""
    config = uvicorn.Config(
        create(settings),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http="h11",
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_graceful_shutdown=drain_s,
    )
    _Server(config, ready).run()
