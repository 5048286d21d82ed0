"""A job in several processes, as a launcher starts them (`chaintune serve --launch …`): the first one works on it as one alone does, and
has the others train along. They end with the launcher, which is what the server and a person can see and kill."""

import os
import threading
import time
from contextlib import suppress
from typing import Any

from apps.server.database import Database

LOOK_S = 0.25


def started() -> bool:
    """Return whether a launcher started this process beside others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


class Others:
    """The other processes, as the first one sees them: they wait until they are called, once, or dismissed."""

    def __init__(self) -> None:
        self._wait = started()
        if self._wait:
            _join()

    def call(self) -> None:
        """Have them train along from here."""
        self._tell(True)

    def dismiss(self) -> None:
        """Let them go, where they wait still."""
        self._tell(False)

    def _tell(self, wanted: bool) -> None:
        if self._wait:
            from tuning import devices

            self._wait = False
            devices.agreed(wanted)


def led() -> bool:
    """Return whether this is one of the others."""
    return started() and os.environ.get("RANK", "0") != "0"


def follow(db: Database, job_id: str) -> None:
    """Train along once the first process calls; what happens is for that one to tell."""
    from apps.server import methods, queue
    from chains.errors import ChaintuneError
    from tuning import devices, loop

    _join()
    if not devices.agreed(False):
        return

    def nothing(*seen: Any) -> None:
        pass

    with suppress(ChaintuneError, KeyboardInterrupt):  # the same is so in all of them
        methods.train(db, queue.get(db, job_id), loop.silent, nothing)


def _join() -> None:
    from tuning import devices

    devices.join("sft")
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(launcher: int) -> None:
    """End this process at once when its launcher has gone, as one that was killed cannot see to it."""
    while os.getppid() == launcher:
        time.sleep(LOOK_S)
    os._exit(1)
