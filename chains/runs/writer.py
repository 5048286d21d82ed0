"""When runs reach the disk: a thread of this process writes those that have ended, many in one transaction.

A run is done, and survives `kill -9`, 0.2 s after its end, and before that as soon as anyone in this process reads, judges, remembers
(every use of the store writes first what waits), calls `flush()` or `close()`, or the program ends, an exception or Ctrl-C included.
The first run of a process, and the first after `close()`, is written at once, so that a store that cannot be used is known at once.
A store that fails warns once and is tried again after half a minute; until then the latest runs wait in memory, and no chain fails.
A forked child leaves its parent's runs to the parent.
"""

import atexit
import os
import sys
import threading
import time
import warnings
from collections import deque
from pathlib import Path
from typing import Any

import apsw
import orjson

from chains.errors import MachineError
from chains.runs import store, threads

Row = tuple[Any, ...]

_EVERY_S = 0.2
_REST_S = 30.0  # after a failed write, how long no other is tried: a locked file must not slow every step down
_MOST = 5_000  # saves that wait before a chain writes them itself; of twice as many, while the store fails, the oldest are lost
_INSERT = "INSERT OR REPLACE INTO runs VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"

_waiting: dict[str, deque[list[Row]]] = {}  # for each CHAINTUNE_HOME the rows of each save
_writing = threading.RLock()
_some = threading.Event()
_thread: threading.Thread | None = None
_trusted: set[str] = set()  # the homes where a write has gone well
_failures: dict[str, float] = {}  # the homes where a write failed, and when


def put(rows: list[Row]) -> None:
    """Have `rows` written, soon and together."""
    place = os.environ.get("CHAINTUNE_HOME", "")
    waiting = _waiting.get(place)
    if waiting is None:
        waiting = _waiting.setdefault(place, deque(maxlen=2 * _MOST))
    waiting.append(rows)
    if place not in _trusted or len(waiting) > _MOST:
        _flush(place)
    elif not _some.is_set():
        _start()
        _some.set()


def flush() -> None:
    """Write the runs that wait; warn where that fails, and go on."""
    for place in list(_waiting):
        _flush(place)


def _flush(place: str) -> None:
    """Write what waits for one home in one transaction."""
    waiting = _waiting[place]
    if not waiting or time.monotonic() - _failures.get(place, -_REST_S) < _REST_S:
        return
    with _writing:
        batches = [waiting.popleft() for _ in range(len(waiting))]
        if not batches or _taken_away(place):
            return
        try:
            with store.direct(place) as db:
                db.executemany(_INSERT, [_placed(db, row) for rows in batches for row in rows])
            _trusted.add(place)
        except BaseException as error:  # also at Ctrl-C the transaction is undone, and they wait for the next
            waiting.extendleft(reversed(batches))
            if not isinstance(error, MachineError):
                raise
            _trusted.discard(place)
            _failed(place, error)


def _taken_away(place: str) -> bool:
    """Say whether a home that this program has moved away from is gone, with all that was in it."""
    return bool(place) and place != os.environ.get("CHAINTUNE_HOME") and not Path(place).expanduser().exists()


def _failed(place: str, error: MachineError) -> None:
    known = place in _failures
    _failures[place] = time.monotonic()
    if not known:
        warnings.warn(f"runs are not being recorded: {error}", RuntimeWarning, stacklevel=2)


def _placed(db: apsw.Connection, row: Row) -> Row:
    """Return the row with its long lists in threads."""
    if len(row[4]) <= threads.SHORT and (row[5] is None or len(row[5]) <= threads.SHORT):
        return (*row, None, None)
    id, parent, session, name, inputs, messages, *rest = row
    thread, lists = None, {}
    if messages is not None and len(messages) > threads.SHORT:
        thread, messages = threads.write(db, orjson.loads(messages)), None
    if len(inputs) > threads.SHORT:
        given = _loaded(inputs)
        for key, value in given.items() if isinstance(given, dict) else ():
            if isinstance(value, list) and value:
                lists[key], given[key] = threads.write(db, value).hex(), None
        inputs = orjson.dumps(given).decode() if lists else inputs
    return (id, parent, session, name, inputs, messages, *rest, thread, orjson.dumps(lists).decode() if lists else None)


def _loaded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # a number or half a pair that only Python's own json reads: it stays in its row
        return None


def _start() -> None:
    global _thread
    if _thread is None or not _thread.is_alive():
        _thread = threading.Thread(target=_work, name="chaintune-runs", daemon=True)
        _thread.start()
        if util := sys.modules.get("multiprocessing.util"):  # its children end without atexit
            util.Finalize(None, flush, exitpriority=0)


def _work() -> None:
    while True:
        _some.wait()
        time.sleep(_EVERY_S)
        _some.clear()
        flush()


def forget() -> None:
    """Take nothing for granted of the store: the next run is written at once."""
    _trusted.clear()


def _after_fork() -> None:
    global _writing, _some, _thread
    _waiting.clear()
    _trusted.clear()
    _writing, _some, _thread = threading.RLock(), threading.Event(), None


atexit.register(flush)
os.register_at_fork(after_in_child=_after_fork)
store.before_use.append(flush)
store.after_close.append(forget)
