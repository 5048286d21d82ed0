"""/v1/models: what is served here."""

import asyncio
import time
from calendar import timegm
from typing import Any

from fastapi import APIRouter, Request

from apps.server import embeddings, promised
from apps.server.errors import ApiError
from apps.server.ownership import check_model, check_own, hidden
from apps.server.state import State, owner_of, state_of
from apps.server.warm import served
from chains.models import registry

router = APIRouter()


@router.get("/v1/models", responses=promised.answers(promised.Models))
async def list_models(request: Request) -> dict[str, Any]:
    """List the registry's models, those named at the start, and the embedding models."""
    state = state_of(request)
    settings, others = state.settings, hidden(state.db, owner_of(request))
    entries = [entry for entry in await asyncio.to_thread(registry.entries) if entry.name not in others]
    packaged = await asyncio.to_thread(embeddings.packaged)
    more = [*settings.models, packaged, *filter(None, [settings.embeddings])]
    rows = [_row(entry.name, entry.meta) for entry in entries] + [_row(name, {}) for name in more]
    theirs = {name: row for name, row in (await _engines(state)).items() if name not in others}
    return {"object": "list", "data": [row for row in rows if row["id"] not in theirs] + list(theirs.values())}


async def _engines(state: State) -> dict[str, dict[str, Any]]:
    """Return the models of `--engine` by name; what is here is listed where it never could be reached."""
    try:
        return await state.engine.models() if state.engine else {}
    except ApiError:
        return {}


@router.get("/v1/models/{name:path}", responses=promised.answers(promised.Model))
async def retrieve_model(name: str, request: Request) -> dict[str, Any]:
    """Show one model."""
    state = state_of(request)
    settings = state.settings
    if name in (await asyncio.to_thread(embeddings.packaged), settings.embeddings):
        return _row(name, {})
    check_model(request, name)
    if found := (await _engines(state)).get(name):
        return found
    served(name, settings)
    return _row(name, {} if name in settings.models else registry.find(name).meta)


@router.delete("/v1/models/{name:path}", responses=promised.answers(promised.Deleted))
async def delete_model(name: str, request: Request) -> dict[str, Any]:
    """Delete a model that was made here by fine-tuning."""
    state = state_of(request)
    check_own(request, name)
    served(name, state.settings)
    if not name.startswith("ft:"):
        raise ApiError(403, f"{name!r} was not made by fine-tuning; remove it with: chaintune models rm", param="model")
    state.warm.drop(name)
    await asyncio.to_thread(registry.remove, name)
    return {"id": name, "object": "model", "deleted": True}


def _row(name: str, meta: dict[str, Any]) -> dict[str, Any]:
    made = meta.get("created")
    created = timegm(time.strptime(made, "%Y-%m-%dT%H:%M:%SZ")) if made else 0
    return {"id": name, "object": "model", "created": created, "owned_by": "chaintune"}
