"""/v1/webhook_endpoints."""

import asyncio
import http.client
import json
import time
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, Field, StringConstraints

from apps.server import promised
from apps.server.chat_request import Body
from apps.server.database import new_id
from apps.server.errors import ApiError
from apps.server.pages import page
from apps.server.state import owner_of, state_of
from apps.server.webhooks import deliver, endpoints

router = APIRouter()


def _url(text: str) -> str:
    parts = urlsplit(text)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.username
        or not text.isascii()
        or parts.port == 0
    ):
        raise ValueError("give the endpoint as http://… or https://…, without a name or password")
    return text


Event = Literal[
    "fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled",
    "batch.completed", "batch.failed", "batch.expired", "batch.cancelled",
]  # fmt: skip
Events = Annotated[list[Event], Field(min_length=1, max_length=len(endpoints.EVENTS))]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2048, pattern=r"^[!-~]+$"), AfterValidator(_url)]


class EndpointRequest(Body):
    """The body of a new endpoint."""

    name: Name
    url: Url
    event_types: Events


class ChangeRequest(Body):
    """What is changed of an endpoint."""

    name: Name | None = None
    url: Url | None = None
    event_types: Events | None = None


class RotateRequest(Body):
    """How the secret is changed."""

    keep_old_secret_active_for_24_hours: bool = False


class TryRequest(Body):
    """Which event is sent to try an endpoint."""

    event_type: Event


@router.post("/v1/webhook_endpoints", responses=promised.answers(promised.Endpoint))
async def create_endpoint(body: EndpointRequest, request: Request) -> Any:
    """Send events to a URL from now on; the secret that signs them is shown this once."""
    given = (owner_of(request), body.name, body.url)
    row = await asyncio.to_thread(endpoints.create, state_of(request).db, *given, body.event_types)
    return endpoints.as_json(row, with_secret=True)


@router.get("/v1/webhook_endpoints", responses=promised.answers(promised.Page[promised.Endpoint]))
async def list_endpoints(
    request: Request, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> Any:
    """List the endpoints, newest first."""
    return page(endpoints.listed(state_of(request).db, owner_of(request)), after, limit, endpoints.as_json)


@router.get("/v1/webhook_endpoints/{hook_id}", responses=promised.answers(promised.Endpoint))
async def retrieve_endpoint(hook_id: str, request: Request) -> Any:
    """Show one endpoint."""
    return endpoints.as_json(endpoints.find(state_of(request).db, owner_of(request), hook_id))


@router.post("/v1/webhook_endpoints/{hook_id}", responses=promised.answers(promised.Endpoint))
async def change_endpoint(hook_id: str, body: ChangeRequest, request: Request) -> Any:
    """Change what is given."""
    columns = {name: value for name, value in (("name", body.name), ("url", body.url)) if value is not None}
    if body.event_types is not None:
        columns["events"] = json.dumps(body.event_types)
    return endpoints.as_json(
        await asyncio.to_thread(endpoints.change, state_of(request).db, owner_of(request), hook_id, **columns)
    )


@router.delete("/v1/webhook_endpoints/{hook_id}", responses=promised.answers(promised.Deleted))
async def delete_endpoint(hook_id: str, request: Request) -> Any:
    """Send nothing more to an endpoint."""
    await asyncio.to_thread(endpoints.remove, state_of(request).db, owner_of(request), hook_id)
    return {"id": hook_id, "object": "webhook_endpoint.deleted", "deleted": True}


@router.post("/v1/webhook_endpoints/{hook_id}/rotate_secret", responses=promised.answers(promised.Endpoint))
async def rotate_secret(hook_id: str, request: Request, body: RotateRequest | None = None) -> Any:
    """Give an endpoint another secret, shown this once."""
    keep = bool(body and body.keep_old_secret_active_for_24_hours)
    row = await asyncio.to_thread(endpoints.rotate, state_of(request).db, owner_of(request), hook_id, keep)
    return endpoints.as_json(row, with_secret=True)


@router.post("/v1/webhook_endpoints/{hook_id}/test", responses=promised.answers(promised.Tried))
async def try_endpoint(hook_id: str, body: TryRequest, request: Request) -> Any:
    """Send an event of no job or batch now, and say how it was taken."""
    state = state_of(request)
    row, event_id = endpoints.find(state.db, owner_of(request), hook_id), new_id("evt_")
    sent = endpoints.body(event_id, body.event_type, "test", int(time.time())).encode()
    try:
        given = (row["url"], event_id, sent, deliver.secrets_of(row), state.settings.open)
        status = await asyncio.to_thread(deliver.send, *given)
    except (OSError, http.client.HTTPException, ValueError, deliver.Refused) as error:
        raise ApiError(400, f"{row['url']} cannot be reached: {error}", "webhook_unreachable") from error
    if not 200 <= status < 300:
        raise ApiError(400, f"{row['url']} answered {status}, and 2xx was expected", "webhook_refused")
    result = {"event_type": body.event_type, "status_code": status, "success": True, "webhook_endpoint_id": hook_id}
    return {"object": "webhook_endpoint.test", **result}
