"""Where state lives on disk, and how a write becomes visible: complete or not at all.

`CHAINTUNE_HOME` (default `~/.chaintune`) is read at every call, so that a test or a program can move it.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chains.errors import MachineError


def home(place: str | None = None) -> Path:
    """Return the folder of all state, made if it is missing; `place` is another CHAINTUNE_HOME ('' the default one)."""
    given = os.environ.get("CHAINTUNE_HOME") if place is None else place
    path = Path(given or Path.home() / ".chaintune").expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise machine_error(error, path) from error
    return path


def models_dir() -> Path:
    """Return the folder of the model registry."""
    path = home() / "models"
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise machine_error(error, path) from error
    return path


def runs_db() -> Path:
    """Return the SQLite file of runs, feedback and conversations."""
    return home() / "runs.db"


def server_db() -> Path:
    """Return the SQLite file of the server's files, jobs and keys."""
    return home() / "server.db"


def machine_error(error: OSError, path: Path, verb: str = "write") -> MachineError:
    """Return the one-sentence error for a failed write (or other `verb`) at `path`."""
    if error.errno == errno.ENOSPC:
        free = shutil.disk_usage(_existing(path)).free
        return MachineError(
            f"the disk is full while writing {path} ({free // 2**20} MiB free); free some space "
            "and run the same command again"
        )
    return MachineError(
        f"cannot {verb} {path}: {error.strerror or error}; choose another folder (CHAINTUNE_HOME moves all state)"
    )


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def write_file(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` so that a reader sees the old file or the whole new one, also after a crash.

    Raises MachineError where the disk is full or the folder cannot be written.
    """
    raw = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise machine_error(error, path) from error


@contextmanager
def publish_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that becomes `target` in one rename when the block ends well.

    An existing `target` is replaced. On any error the unfinished folder is removed and `target` is untouched.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _tidy(target.parent)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.{os.getpid()}.", dir=target.parent))
    except OSError as error:
        raise machine_error(error, target) from error
    try:
        yield work
        work.chmod(0o755)
        for file in work.rglob("*"):
            if file.is_file():
                _sync(file)
        _replace_folder(work, target)
        _sync(target.parent)
    except Exception as error:
        failed = _system_error(error)
        if failed is None:
            raise
        raise machine_error(failed, target) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


_LEFT = re.compile(r"\.(.+)\.(\d+)\.[a-z0-9_]{8}")


def _tidy(parent: Path) -> None:
    """Clear away what killed processes left half-written in `parent`; a folder that one had set aside comes back where none took its place."""
    for path in parent.glob(".*"):
        found = _LEFT.fullmatch(path.name)
        if found and not _runs(int(found[2])):
            if (path / found[1]).is_dir() and not (parent / found[1]).exists():
                os.rename(path / found[1], parent / found[1])
            shutil.rmtree(path, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another person's
        return True
    return True


def _system_error(error: Exception) -> OSError | None:
    """Return the operating system's error behind `error`, if it is one: safetensors tells it in its text alone."""
    if isinstance(error, OSError):
        return error
    found = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def _replace_folder(work: Path, target: Path) -> None:
    if not target.exists():
        os.rename(work, target)
        return
    old = _set_aside(target)
    try:
        os.rename(work, target)
    except OSError:
        os.rename(old, target)
        old.parent.rmdir()
        raise
    shutil.rmtree(old.parent, ignore_errors=True)


def remove_folder(target: Path) -> None:
    """Delete the folder `target`: it is gone in one rename, and then its files are. Raises MachineError where that is not allowed."""
    try:
        shutil.rmtree(_set_aside(target).parent, ignore_errors=True)
    except OSError as error:
        raise machine_error(error, target, "remove") from error


def _set_aside(target: Path) -> Path:
    """Return the new, hidden place of the folder `target`."""
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.{os.getpid()}.", dir=target.parent)) / target.name
    try:
        os.rename(target, aside)
    except OSError:
        aside.parent.rmdir()
        raise
    return aside


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
