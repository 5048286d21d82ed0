"""A python grader, run: `sandboxed` in a process of its own, with a limit on the time by the clock, too."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from apps.server.graders import sandboxed

WALL_S = 20.0


class Failed(Exception):
    """A grader gave no reward; `kind` says whose fault it is: `runtime` the program's, `server` this machine's."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def reward(source: str, sample: dict[str, Any], item: Any) -> float:
    """Return what the program's grade(sample, item) gives. Raises Failed where it gives none."""
    request = json.dumps({"source": source, "sample": sample, "item": item}).encode()
    child = subprocess.Popen(
        [sys.executable, "-I", str(Path(sandboxed.__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env={"OMP_NUM_THREADS": "1"}, cwd="/", start_new_session=True,
    )  # fmt: skip
    try:
        out, _ = child.communicate(request, WALL_S)
    except subprocess.TimeoutExpired:
        raise Failed("runtime", f"the program ran longer than {WALL_S:g} s") from None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if not out:
        limits = f"{sandboxed.CPU_S} s of CPU or {sandboxed.MEMORY_BYTES // 2**20} MiB"
        raise Failed("runtime", f"the program ended without a reward; it may have used more than {limits}")
    answer: dict[str, Any] = json.loads(out)
    if "reward" not in answer:
        raise Failed(answer["kind"], answer["error"])
    return float(answer["reward"])
