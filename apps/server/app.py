"""The whole server as an ASGI application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware

from apps.server import (
    chat,
    completions,
    docs_page,
    embeddings,
    errors,
    file_routes,
    files,
    grader_routes,
    job_routes,
    judging,
    keys,
    metrics,
    model_routes,
    permission_routes,
    promised,
    upload_routes,
    uploads,
)
from apps.server.batches import routes as batch_routes
from apps.server.batches import work
from apps.server.database import Database
from apps.server.gate import Gate, Gone
from apps.server.guard import Guard
from apps.server.responses import routes as response_routes
from apps.server.responses import store
from apps.server.runner import Runner
from apps.server.settings import Settings
from apps.server.state import State, state_of
from apps.server.upstream import Upstream
from apps.server.warm import Warm
from apps.server.webhooks import deliver
from apps.server.webhooks import routes as webhook_routes

_ROUTES: dict[str, Any] = {
    "Chat": chat,
    "Responses": response_routes,
    "Completions": completions,
    "Embeddings": embeddings,
    "Models": model_routes,
    "Files": file_routes,
    "Uploads": upload_routes,
    "Fine-tuning": job_routes,
    "Checkpoint permissions": permission_routes,
    "Graders": grader_routes,
    "Batches": batch_routes,
    "Webhooks": webhook_routes,
    "Scores and moderation": judging,
    "Server": metrics,
}
"""The routes by the heading that they have at /docs."""


def create(settings: Settings) -> FastAPI:
    """Return the application; it loads no model before one is asked for."""
    app = FastAPI(
        title="chaintune",
        description="OpenAI's API over the models of this machine.",
        lifespan=_lifespan,
        responses=errors.RESPONSES,
        docs_url=None,
        redoc_url=None,
    )
    gate = Gate(settings.max_batch + settings.max_waiting)
    db = Database()
    engine = Upstream(settings.engine, settings.engine_key) if settings.engine else None
    app.state.server = State(settings, Warm(settings), gate, db, engine)
    errors.add_to(app)
    docs_page.add_to(app)
    app.add_exception_handler(Gone, _nobody)
    for name, routes in _ROUTES.items():
        app.include_router(routes.router, tags=[name])
    app.add_api_route("/health", _health, methods=["GET"], tags=["Server"], responses=promised.answers(promised.Health))
    app.add_api_route("/ready", _ready, methods=["GET"], tags=["Server"], responses=promised.answers(promised.Ready))
    app.state.meters = metrics.Meters(app.state.server)
    app.add_middleware(Guard, settings=settings, authenticate=partial(keys.owner, db, required=settings.needs_key))
    if settings.origins:  # outside the guard: a browser asks first, without a key
        app.add_middleware(CORSMiddleware, allow_origins=settings.origins, allow_methods=["*"], allow_headers=["*"])
    app.add_middleware(metrics.Measured, meters=app.state.meters)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Begin with what has expired, and run the queue while the server runs, where it is to."""
    server: State = app.state.server
    for rows in (files, uploads, store):
        rows.sweep(server.db)
    async with _working(app, server) if server.settings.jobs else nullcontext():
        yield
    if server.engine:
        await server.engine.close()


@asynccontextmanager
async def _working(app: FastAPI, server: State) -> AsyncIterator[None]:
    """Run the queue's jobs, batches and webhooks during the block."""
    runner = Runner(server.db, server.settings.python_graders, server.settings.launch)
    tasks = {
        asyncio.create_task(work.run(app, server.db)),
        asyncio.create_task(deliver.run(server.db, server.settings.open)),
    }
    runner.start()
    yield
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await asyncio.to_thread(runner.stop)


async def _nobody(request: Request, error: Exception) -> Any:
    return errors.ApiError(400, "the client went away before its answer").response()


async def _health() -> dict[str, str]:
    """Whether the server runs."""
    return {"status": "ok"}


async def _ready(request: Request) -> dict[str, Any]:
    """Whether another request would be taken, and the models that are loaded."""
    state = state_of(request)
    if state.gate.within >= state.gate.most:
        raise errors.ApiError(503, "the queue is full; try again later", "queue_full")
    return {"status": "ready", "models": state.warm.names()}
