"""One side of a benchmark as a process of its own: it loads once, then does the whole job each time it is told to.

    python -m tests.bench.child '{"side": "transformers", "how": "static", "slots": 8, "folder": …, "dtype": "bf16", "threads": 1, "limit": 32}'

It answers on stdout in JSON lines: first that it is ready and how much memory the loaded model takes, then, for every line "run" on stdin, the
seconds, the answers, and the most memory it had taken above the loaded model. It runs in the environment of its own library, so that
nothing here may import the product before that side is asked for.
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl
SIDES = {
    "ours": "tests.bench.side_ours",
    "library": "tests.bench.side_library",
    "langchain index": "tests.bench.side_langchain_index",
    "train": "tests.bench.side_train",
    "trl": "tests.bench.side_trl",
    "transformers": "tests.bench.side_transformers",
    "llama.cpp": "tests.bench.side_llama_cpp",
    "ppo ours": "tests.bench.side_ppo_ours",
    "ppo trl": "tests.bench.side_ppo_trl",
    "grpo ours": "tests.bench.side_grpo_ours",
    "grpo trl": "tests.bench.side_grpo_trl",
}


def memory_mb(field: str) -> float:
    """Return VmRSS (now) or VmHWM (the most so far) of this process in MB."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(field))


def forget_peak() -> None:
    """Let the most memory so far be what is taken now."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def measured(work: Callable[[], Any]) -> dict[str, Any]:
    """Return what `work` returns under "answers", with the wall and CPU seconds that it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    answers = work()
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "answers": answers}


def serve(spec: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    side = import_module(SIDES[spec["side"]]).load(spec)
    loaded = memory_mb("VmRSS")
    forget_peak()
    side.warm()
    say({"ready": True, "loaded_mb": loaded})
    for line in sys.stdin:
        if line.strip() == "run":
            say({**measured(side.run), "extra_mb": max(memory_mb("VmHWM") - loaded, 1.0)})


def main() -> None:
    spec = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)  # a stopped process would outlive its parent
    os.sched_setaffinity(0, spec["cores"])

    def say(row: dict[str, Any]) -> None:
        print(json.dumps(row), file=answers, flush=True)

    try:
        serve(spec, say)
    except Exception as error:
        say({"error": f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"})
        raise


if __name__ == "__main__":
    main()
