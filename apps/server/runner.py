"""Starts the jobs of the queue, one at a time, each in a child process that holds this home's lock for as long as it lives.

A child outlives a server that is killed: the next server finds the lock held, waits, and goes on with whatever is left.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from apps.server import queue
from apps.server.database import Database
from apps.server.reinforcement import PYTHON_GRADERS
from chains.home import home

MOST_CRASHES = 5
LOOK_S = 0.25
SAVE_S = 15
"""How long a child may take to save a checkpoint."""


class Runner:
    """A thread that looks after the queue."""

    def __init__(self, db: Database, python_graders: bool = False, launch: Sequence[str] = ()) -> None:
        self._db, self._home, self._python_graders, self._launch = db, home(), python_graders, launch
        self._stop = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._job = ""
        self._thread = threading.Thread(target=self._run, name="chaintune-jobs", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Start no more jobs. The one that runs saves a checkpoint and ends; the next server goes on with it."""
        self._stop.set()
        self._thread.join()
        if self._child is not None:
            self._child.send_signal(signal.SIGINT)
            try:
                self._child.wait(SAVE_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        if self._child is not None:
            if self._child.poll() is None:
                return
            self._child = None
            self._ended()
        job = queue.next_job(self._db)
        if job is not None:
            self._spawn(job)

    def _ended(self) -> None:
        """Count a child that left its job unfinished, and give up where it does so again and again."""
        row = queue.get(self._db, self._job)
        if row["status"] not in queue.ACTIVE:
            return
        if row["wanted"] == "cancel":
            with self._db.transaction():
                queue.end_now(self._db, self._job)
        elif row["crashes"] + 1 >= MOST_CRASHES:
            said = f"the training ended {MOST_CRASHES} times by itself; see jobs/{self._job}.log in the server's home"
            queue.fail(self._db, self._job, "worker_crashed", said)
        else:
            queue.update(self._db, self._job, crashes=row["crashes"] + 1)

    def _spawn(self, job: str) -> None:
        """Start the job where nobody else on this home works on one: the lock goes to the child, and with it to nobody else."""
        lock = os.open(self._home / "jobs.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            root = str(Path(__file__).parents[2])
            paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
            environment = {
                **os.environ,
                "PYTHONPATH": paths,
                "CHAINTUNE_HOME": str(self._home),
                PYTHON_GRADERS: str(int(self._python_graders)),
            }
            with self._log(job).open("ab") as log:
                self._child = subprocess.Popen(
                    [*self._begin(job), "-m", "apps.server.worker", job], env=environment, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, pass_fds=[lock], start_new_session=True,
                )  # fmt: skip
            self._job = job
        except BlockingIOError:
            pass  # another server's child works
        finally:
            os.close(lock)

    def _begin(self, job: str) -> Sequence[str]:
        """Return the command that a module's name follows: the launcher's where the job's training can be divided."""
        divided = self._launch and queue.get(self._db, job)["method"] != "reinforcement"
        return self._launch if divided else [sys.executable]

    def _log(self, job: str) -> Path:
        folder = self._home / "jobs"
        folder.mkdir(exist_ok=True)
        return folder / f"{job}.log"
