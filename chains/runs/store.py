"""The one SQLite connection of this process to the run store, and what its failures say.

A write is a short transaction in WAL mode: when `transaction` ends, it survives the end of the process, `kill -9` included
(a power cut can lose the last ones, never damage the file). Reads and writes wait their turn on one lock. Whoever reads or writes
first lets the runs that wait for their writer be written (`before_use`), so that nothing is seen out of order.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import apsw

from chains.errors import MachineError
from chains.home import home, runs_db
from chains.runs.migrations import MIGRATIONS
from chains.sqlite import MEMORY, connect

_lock = threading.Lock()
_disk: "_Disk | None" = None
before_use: list[Callable[[], None]] = []  # chains/runs/writer.py puts its flush here
after_close: list[Callable[[], None]] = []
_memory: apsw.Connection | None = None
_left_by_fork: list[Any] = []  # a parent's connections: closing one here would take the parent's locks away


class _Disk(NamedTuple):
    home: str | None  # CHAINTUNE_HOME when it was opened
    path: str
    file_id: tuple[int, int] | None
    db: apsw.Connection


@contextlib.contextmanager
def transaction(private: bool = False) -> Iterator[apsw.Connection]:
    """Yield the connection inside one write transaction, undone where the block raises.

    `private` means the store in this process's memory, which nothing outlives. Raises MachineError where the file cannot be used.
    """
    _prepare(private)
    with direct(private=private) as db:
        yield db


@contextlib.contextmanager
def direct(place: str | None = None, private: bool = False) -> Iterator[apsw.Connection]:
    """Yield what transaction yields, without waiting for others; `place` is another CHAINTUNE_HOME ('' the default one)."""
    with _connected(private, place) as db:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def rows(sql: str, values: Sequence[Any] = (), private: bool = False) -> list[tuple[Any, ...]]:
    """Return what a SELECT finds. Raises MachineError where the file cannot be used."""
    _prepare(private)
    with _connected(private) as db:
        return list(db.execute(sql, values))


def _prepare(private: bool) -> None:
    for flush in () if private else before_use:
        flush()


@contextlib.contextmanager
def _connected(private: bool, place: str | None = None) -> Iterator[apsw.Connection]:
    with _lock:
        try:
            if private:
                yield _in_memory()
            elif place is None or place == os.environ.get("CHAINTUNE_HOME", ""):
                yield _on_disk()
            else:
                with contextlib.closing(connect(str(home(place) / "runs.db"), MIGRATIONS)) as db:
                    yield db
        except apsw.Error as error:
            raise _machine_error(error) from error


def _on_disk() -> apsw.Connection:
    """Return the open connection, or a new one where the home has moved or the file was taken away."""
    global _disk
    moved_to = os.environ.get("CHAINTUNE_HOME")
    if _disk is not None and _disk.home == moved_to and _file_id(_disk.path) == _disk.file_id:
        return _disk.db
    _let_go()
    path = str(runs_db())
    db = connect(path, MIGRATIONS)
    _disk = _Disk(moved_to, path, _file_id(path), db)
    return db


def _in_memory() -> apsw.Connection:
    global _memory
    _memory = _memory or connect(MEMORY, MIGRATIONS)
    return _memory


def _file_id(path: str) -> tuple[int, int] | None:
    """Return what tells this file from one that was put in its place; None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def close() -> None:
    """Write what waits and close the file, so that it can be moved or deleted; the next use opens it again."""
    _prepare(private=False)
    with _lock:
        _let_go()
    for told in after_close:
        told()


def _let_go() -> None:
    global _disk
    if _disk is not None:
        _disk.db.close()
    _disk = None


def _machine_error(error: apsw.Error) -> MachineError:
    path = runs_db()
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return MachineError(f"{path} is locked by another process; wait for it or end it, or set CHAINTUNE_RUNS=off")
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        return MachineError(f"{path} is damaged ({error}); move it away, and the next run starts a new one")
    if isinstance(error, apsw.FullError):
        return MachineError(f"the disk is full while writing {path}; free some space, or set CHAINTUNE_RUNS=off")
    return MachineError(f"{path} cannot be used ({error}); check its folder's permissions, or set CHAINTUNE_RUNS=off")


def _after_fork() -> None:
    global _lock, _disk, _memory
    _left_by_fork.append((_disk, _memory))
    _lock, _disk, _memory = threading.Lock(), None, None


os.register_at_fork(after_in_child=_after_fork)
