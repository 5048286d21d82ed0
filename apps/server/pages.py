"""Lists in pages, as OpenAI's clients walk them: `after` is the last id seen, and `has_more` ends the walk."""

from collections.abc import Callable, Sequence
from typing import Any

from apps.server.database import Row
from apps.server.errors import ApiError


def page(rows: Sequence[Row], after: str | None, limit: int, as_json: Callable[[Row], Row]) -> dict[str, Any]:
    """Return one page of `rows`. Raises ApiError where `after` is none of them."""
    start = 0
    if after is not None:
        start = next((place + 1 for place, row in enumerate(rows) if row["id"] == after), -1)
        if start < 0:
            raise ApiError(400, f"after={after!r} is no object of this list; give the last id of a page", param="after")
    data = [as_json(row) for row in rows[start : start + limit]]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return {"object": "list", "data": data, **ends, "has_more": start + limit < len(rows)}
