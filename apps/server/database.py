"""`server.db`: one connection of this process, behind one lock. The server, its jobs and the command line each have their own."""

import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from apps.server.migrations import MIGRATIONS
from chains.errors import MachineError
from chains.home import server_db
from chains.sqlite import connect

Row = dict[str, Any]


class Database:
    """What a block writes is there when it ends, all or nothing."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or server_db()
        self._lock = threading.RLock()
        with self._told():
            self._db = connect(str(self._path), MIGRATIONS)
            self._db.pragma("synchronous", "full")  # an acknowledged file or job outlives a power cut, too

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything that the block writes visible at once. Raises MachineError where the file cannot be used."""
        with self._lock, self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return what a statement gives, each row by its columns' names."""
        with self._lock, self._told():
            cursor = self._db.execute(sql, values)
            return [dict(zip((name for name, *_ in cursor.description), row, strict=True)) for row in cursor]

    def write(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        with self._lock, self._told():
            self._db.execute(sql, values)
            return self._db.changes()

    def add(self, table: str, **columns: Any) -> None:
        """Insert one row."""
        marks = ", ".join("?" * len(columns))
        self.write(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", list(columns.values()))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except apsw.Error as error:
            raise MachineError(
                f"{self._path} cannot be used ({error}); check its folder and the disk's free space"
            ) from error


def new_id(prefix: str) -> str:
    """Return a fresh id such as file-3f…: letters and digits alone, so that it can be a file's name."""
    return f"{prefix}{secrets.token_hex(12)}"
