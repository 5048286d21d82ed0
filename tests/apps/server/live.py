"""A running server for tests, on a free port of this machine, and the official client for it."""

import socket
import threading
from contextlib import contextmanager

import openai
import uvicorn

from apps.server.app import create
from apps.server.settings import Settings


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(**options):
    """Yield (base url, application) of a server that runs in a thread of this process."""
    settings = Settings(**{"port": free_port(), "jobs": False, **options})
    app = create(settings)
    server = uvicorn.Server(uvicorn.Config(app, port=settings.port, log_level="warning", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            threading.Event().wait(0.01)
            assert thread.is_alive()
        yield f"http://127.0.0.1:{settings.port}", app
    finally:
        server.should_exit = True
        thread.join()


def client(url, key="none"):
    """Return OpenAI's client for the server, which tries nothing twice."""
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=240)
