"""The process that reads documents which a parser could choke on: `python -m retrieval.parse`, one JSON request a line on stdin.

    {"path": …, "result": …, "edge": 0, "cpu_s": 8, "wall_s": 30, "memory_bytes": …}  ->  {"code": 0, "cpu_s": 0.3, "peak_bytes": …}

Every file is read by a fork of this process under limits of its own, which writes the fields of a Text, of a picture those of a Picture whose
shorter side is `edge` pixels long, or {"error": half a sentence}, into `result`. So a file made to exhaust a parser ends its fork alone, and a parser is imported once for all files.
"""

import contextlib
import dataclasses
import json
import logging
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from retrieval.kinds import KINDS, PICTURES
from retrieval.text import MAX_CHARACTERS, Picture, Text, Unreadable

IDLE_S = 60  # without a request, after which the process ends; the next request starts another
_MORE_BYTES = (
    2**30
)  # of address space beside the data: the code of the libraries, which takes no memory of this process's own


def reader(suffix: str, edge: int) -> Callable[[bytes], Text | Picture]:
    """Return what reads files of that kind."""
    module, _, name = {**KINDS, **PICTURES}[suffix].partition(":")
    read = getattr(import_module(module), name)
    return (
        partial(read, suffix=suffix)
        if name == "read_code"
        else partial(read, edge=edge)
        if suffix in PICTURES
        else read
    )


def serve() -> None:
    """Answer requests until there are no more, or none for a while."""
    while select.select([sys.stdin], [], [], IDLE_S)[0] and (line := sys.stdin.readline()):
        request = json.loads(line)
        read = reader(Path(request["path"]).suffix.lower(), request.pop("edge"))
        child = os.fork()
        if not child:
            _read(read, **request)
        print(json.dumps(_waited(child, request["wall_s"])), flush=True)


_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def _waited(child: int, wall_s: float) -> dict[str, Any]:
    """Return how the child ended and what it used; it is killed after `wall_s`."""
    deadline, nap, late = time.monotonic() + wall_s, 0.0005, False
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            code, cpu_s = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
            return {"code": code, "late": late, "cpu_s": cpu_s, "peak_bytes": used.ru_maxrss * _RSS_UNIT}
        if not late and time.monotonic() > deadline:
            late = True
            os.kill(child, signal.SIGKILL)
        time.sleep(nap)
        nap = min(2 * nap, 0.02)


def _read(
    read: Callable[[bytes], Text | Picture], path: str, result: str, cpu_s: float, wall_s: float, memory_bytes: int
) -> None:
    """Write what the file holds into `result`, and end this process."""
    try:
        seconds = max(1, round(cpu_s))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes + _MORE_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        Path(result).write_text(json.dumps(_said(read, Path(path), memory_bytes)), encoding="utf-8")
        os._exit(0)
    finally:
        os._exit(1)


def _said(read: Callable[[bytes], Text | Picture], path: Path, memory_bytes: int) -> dict[str, Any]:
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found = read(path.read_bytes())
        if isinstance(found, Text) and len(found.text) > MAX_CHARACTERS:
            return {"error": f"has more than {MAX_CHARACTERS:,} characters; split it"}
        return dataclasses.asdict(found)
    except Unreadable as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": f"needed more than {memory_bytes // 2**20} MiB to read"}
    except RecursionError:
        return {"error": "is nested too deep to be read"}
    except Exception as error:  # whatever a damaged file makes of a parser; this process exists to hold that
        why = str(error).strip().partition("\n")[0]
        return {"error": f"is damaged and could not be read: {type(error).__name__}{f': {why}' if why else ''}"}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    serve()
