"""What the routes share; a request finds it by `state_of`, and its owner by `owner_of`."""

from dataclasses import dataclass

from fastapi import Request

from apps.server.database import Database
from apps.server.gate import Gate
from apps.server.settings import Settings
from apps.server.upstream import Upstream
from apps.server.warm import Warm


@dataclass
class State:
    """One server."""

    settings: Settings
    warm: Warm
    gate: Gate
    db: Database
    engine: Upstream | None = None
    """The server that answers for the models it has, where there is one."""


def state_of(request: Request) -> State:
    """Return the server that answers this request."""
    state: State = request.app.state.server
    return state


def owner_of(request: Request) -> str:
    """Return whose request this is: a key's id, or "" without one."""
    owner: str = request.state.owner
    return owner
