"""Opens this project's SQLite files: WAL, and the tables brought to the newest version by an ordered list of migrations."""

import contextlib
import time
from collections.abc import Callable, Sequence

import apsw

from chains.errors import MachineError

BUSY_MS = 5000
MEMORY = ":memory:"
Migration = Callable[[apsw.Connection], None]


def connect(path: str, migrations: Sequence[Migration]) -> apsw.Connection:
    """Return a connection to the file at `path`, made and migrated where it has to be. Raises MachineError for a newer one."""
    db = apsw.Connection(path)
    try:
        db.set_busy_timeout(BUSY_MS)
        if path != MEMORY:
            _to_wal(db)
        db.pragma("synchronous", "normal")
        _migrate(db, path, migrations)
    except BaseException:
        db.close()
        raise
    return db


def _to_wal(db: apsw.Connection) -> None:
    """Switch to WAL, which SQLite refuses without waiting while another process opens the same new file."""
    for _ in range(BUSY_MS // 20):
        with contextlib.suppress(apsw.BusyError):
            db.pragma("journal_mode", "wal")
            return
        time.sleep(0.02)
    db.pragma("journal_mode", "wal")


def _migrate(db: apsw.Connection, path: str, migrations: Sequence[Migration]) -> None:
    if db.pragma("user_version") == len(migrations):
        return
    db.execute("BEGIN IMMEDIATE")  # another process may be doing the same: one of the two finds the work done
    version = db.pragma("user_version")
    if version > len(migrations):
        raise MachineError(
            f"{path} was written by a newer chaintune (version {version}, known here {len(migrations)}); upgrade it"
        )
    for migrate in migrations[version:]:
        migrate(db)
    db.pragma("user_version", len(migrations))
    db.execute("COMMIT")
