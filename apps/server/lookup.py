"""The row that an id stands for."""

from apps.server.database import Database, Row
from apps.server.errors import missing


def found(db: Database, table: str, what: str, id: str, owner: str | None = None) -> Row:
    """Return the row of `table` with this id. Raises ApiError 404 where there is none, or where it is not `owner`'s, if one is given."""
    for row in db.rows(f"SELECT * FROM {table} WHERE id = ?", (id,)):
        if owner is None or row["owner"] == owner:
            return row
    raise missing(what, id)
