"""The process in which a grader's program runs: a JSON request on stdin, a JSON answer on stdout. It imports nothing of this project.

Before the program is read, everything is given up that it does not need: files but Python's own libraries (Landlock), the network, other
processes (namespaces of its own), and all but a little time and memory. Where the kernel cannot do that, the program is not run.
"""

import ctypes
import json
import math
import os
import resource
import signal
import struct
import sys
from typing import Any

CPU_S = 10
MEMORY_BYTES = 2**30
FILE_BYTES = 2**20
_NEW_NAMESPACES = 0x10000000 | 0x40000000 | 0x20000000 | 0x08000000  # user, network, processes, IPC
_RULES = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF}
"""Every right over files that Landlock of that version handles."""
_READ = 0b1100  # files and folders
_NO_NEW_PRIVILEGES, _DIE_WITH_PARENT = 38, 1
_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on every architecture


class NoSandbox(Exception):
    """This kernel does not hold a program in."""


def main() -> None:
    """Answer one request."""
    out = os.dup(1)
    os.dup2(2, 1)  # what the program prints is no answer
    request = json.loads(sys.stdin.buffer.read())
    try:
        hold_in()
    except (NoSandbox, OSError) as error:
        answer: dict[str, Any] = {"kind": "server", "error": str(error)}
    else:
        answer = _graded(request)
    os.write(out, json.dumps(answer).encode())


def _graded(request: dict[str, Any]) -> dict[str, Any]:
    try:
        names: dict[str, Any] = {"__name__": "grader"}
        exec(compile(request["source"], "<grader>", "exec"), names)
        reward = float(names["grade"](request["sample"], request["item"]))
    except BaseException as error:  # whatever the program raises is its own affair, SystemExit included
        return {"kind": "runtime", "error": f"{type(error).__name__}: {error}"[:500]}
    if not math.isfinite(reward):
        return {"kind": "runtime", "error": f"grade() returned {reward}, which is no reward"}
    return {"reward": reward}


def hold_in() -> None:
    """Give up what a grader does not need, for good; the caller goes on in a process of its own. Raises NoSandbox where that cannot be."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NAMESPACES):
        raise NoSandbox(f"this kernel gives no namespaces ({os.strerror(ctypes.get_errno())})")
    if child := os.fork():  # the first child is the one that is in the new processes' namespace
        _, status = os.waitpid(child, 0)
        os._exit(0 if status == 0 else 1)
    libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    for limit, most in ((resource.RLIMIT_CPU, CPU_S), (resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_FSIZE, FILE_BYTES),
                        (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NPROC, 64)):  # fmt: skip
        resource.setrlimit(limit, (most, most))
    _only_libraries(libc)


def _only_libraries(libc: Any) -> None:
    """Let this process read Python's libraries and no other file, and write none."""
    version = libc.syscall(_CREATE, None, 0, 1)
    if version < 1:
        raise NoSandbox("this kernel has no Landlock")
    rules = libc.syscall(_CREATE, ctypes.create_string_buffer(struct.pack("Q", _RULES.get(version, 0xFFFF))), 8, 0)
    for folder in {*filter(os.path.isdir, sys.path), "/usr/lib", "/lib", "/lib64"}:
        if os.path.isdir(folder):
            place = os.open(folder, os.O_PATH)
            libc.syscall(_ADD, rules, 1, ctypes.create_string_buffer(struct.pack("=Qi", _READ, place)), 0)
            os.close(place)
    if rules < 0 or libc.syscall(_RESTRICT, rules, 0):
        raise NoSandbox(f"Landlock refused ({os.strerror(ctypes.get_errno())})")
    os.close(rules)


if __name__ == "__main__":
    main()
