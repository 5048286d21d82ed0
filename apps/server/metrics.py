"""/metrics, for Prometheus: requests by route and status, and what the engines and the queue of jobs hold."""

import time
from collections.abc import Iterator, MutableMapping
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from apps.server.state import State

router = APIRouter()
SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


class Meters:
    """The figures of one server."""

    def __init__(self, state: State) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("chaintune_requests", "Requests", ["route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "chaintune_request_seconds", "Until the last byte", ["route"], buckets=SECONDS, registry=self.registry
        )
        self.registry.register(_Now(state))


class _Now(Collector):
    """What is so at the moment of asking."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """Yield each figure."""
        warm, gate = self._state.warm, self._state.gate
        yield GaugeMetricFamily("chaintune_answers_under_way", "Answers that run or wait", gate.within)
        yield GaugeMetricFamily("chaintune_loaded_bytes", "What the loaded models' weights fill", warm.bytes())
        running = GaugeMetricFamily("chaintune_running", "Answers that a model writes", labels=["model"])
        waiting = GaugeMetricFamily("chaintune_waiting", "Answers that wait for a model", labels=["model"])
        tokens = CounterMetricFamily("chaintune_generated_tokens", "Tokens that a model has made", labels=["model"])
        for model in warm.chats():
            stats = model.engine.stats()
            for family, name in ((running, "running"), (waiting, "waiting"), (tokens, "tokens")):
                family.add_metric([model.model_name], stats[name])
        yield from (running, waiting, tokens, self._jobs())

    def _jobs(self) -> Metric:
        jobs = GaugeMetricFamily("chaintune_jobs", "Fine-tuning jobs", labels=["status"])
        for row in self._state.db.rows("SELECT status, count(*) AS count FROM jobs GROUP BY status"):
            jobs.add_metric([row["status"]], row["count"])
        return jobs


class Measured:
    """An ASGI middleware that counts every request under its route's own path, never under what a client made up."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self.app, self.meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and count it."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, status = time.monotonic(), "0"

        async def seen(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = str(message.get("status", status))
            await send(message)

        try:
            await self.app(scope, receive, seen)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self.meters.requests.labels(route, status).inc()
            self.meters.seconds.labels(route).observe(time.monotonic() - began)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Show the figures in Prometheus's text form."""
    meters: Meters = request.app.state.meters
    return Response(generate_latest(meters.registry), media_type="text/plain; version=0.0.4")
