"""One writer for a library: two processes that write one Chroma folder lose vectors without an error.

The lock is the kernel's (flock), so it ends with the process that holds it, `kill -9` included; the file says whose it is.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chains.errors import MachineError
from chains.home import machine_error

LOCK = "LOCK"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the library's lock. Raises MachineError, naming the owner's process id, where another has it."""
    path = folder / LOCK
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise machine_error(error, path) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            raise MachineError(
                f"the library {folder} is being written by process {owner}; wait until it is done, or end it"
            ) from None
        os.pwrite(handle, f"{os.getpid():<20}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
