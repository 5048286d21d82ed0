"""How much memory and time `chaintune data check` takes for a large file, made for the purpose and removed afterwards.

python -m tests.bench.check --gigabytes 1 --json
python -m tests.bench.check --gigabytes 0.1 --model FOLDER      # with tokens
"""

import argparse
import contextlib
import json
import os
import pty
import random
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import orjson

CODE = """
import json, resource, sys, time
from apps.cli import main
start = time.monotonic()
status = main(["data", "check", *sys.argv[1:], "--json"])
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
heavy = [name for name in ("torch", "transformers", "pandas") if name in sys.modules]
print(json.dumps({"status": status, "seconds": round(time.monotonic() - start, 1), "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
                  "peak_mb": peak // 1024, "heavy": heavy}))
"""
_FRAME = re.compile(rb"\d+/\d+")


def make(path: Path, size: int, every: int = 500) -> int:
    """Write about `size` bytes of chat rows, one in `every` twice, and return how many rows are repeated."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(20_000)]
    written, number, repeated, last = 0, 0, 0, b""
    with path.open("wb") as file:
        while written < size:
            again = number % every == 3
            if not again:
                question, answer = " ".join(draw.choices(words, k=40)), " ".join(draw.choices(words, k=90))
                messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
                last = orjson.dumps({"messages": messages}) + b"\n"
            repeated += again
            written += file.write(last)
            number += 1
    return repeated


def checked(words: list[str]) -> dict[str, Any]:
    """Run the command with a terminal for its bar; return its report, what it took, and the different states of the bar that were drawn."""
    terminal, end = pty.openpty()
    drawn: list[bytes] = []

    def watch() -> None:
        with contextlib.suppress(OSError):  # the terminal is gone when the command has ended
            while piece := os.read(terminal, 65536):
                drawn.append(piece)

    threading.Thread(target=watch, daemon=True).start()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], stdout=subprocess.PIPE, stderr=end, text=True, env=environment
    )
    os.close(end)
    if done.returncode:
        sys.exit(b"".join(drawn)[-2000:].decode(errors="replace"))
    report, took = map(json.loads, done.stdout.splitlines())
    numbers = report["summary"]["tokens"] or {}
    return {"rows": report["rows"], "counts": report["counts"], "tokens": numbers.get("total"), **took,
            "bar": len(set(_FRAME.findall(b"".join(drawn))))}  # fmt: skip


def main() -> None:
    """Make the file, check it in a process of its own, print what that took."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--gigabytes", type=float, default=1.0)
    options.add_argument("--model", default="", help="count tokens too, as this model does")
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaintune-bench-") as folder:
        path = Path(folder) / "large.jsonl"
        repeated = make(path, int(asked.gigabytes * 1e9))
        found = {"bench": "check", "bytes": path.stat().st_size, "repeated": repeated}
        found |= checked([str(path), *(["--model", asked.model] if asked.model else [])])
    if found["counts"].get("duplicate") != repeated:
        sys.exit(f"{repeated} rows stand twice, and {found['counts'].get('duplicate')} were found")
    print(json.dumps(found) if asked.json else "\n".join(f"{key}: {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
