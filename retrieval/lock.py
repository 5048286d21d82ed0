"""A library's folder, and one writer for it: two processes that write one Chroma folder lose vectors without an error.

The lock is the kernel's (flock), so it ends with the process that holds it, `kill -9` included; the file says whose it is.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chains.errors import MachineError, UsageError
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


def library_folder(path: Path) -> Path:
    """Return the library's folder, made if missing. Raises UsageError where it is a file or holds other things."""
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; give the folder that the library is to be kept in")
    if path.is_dir() and any(path.iterdir()) and not (path / LOCK).exists():
        raise UsageError(
            f"{path} holds other files and no library; give a new or an empty folder, and then sync your documents into it"
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / LOCK).touch()
    except OSError as error:
        raise machine_error(error, path) from error
    return path.resolve()
