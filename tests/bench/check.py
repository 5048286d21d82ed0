"""How much memory and time `chaintune data check` takes for a large file, made for the purpose and removed afterwards.

python -m tests.bench.check --gigabytes 1 --json
python -m tests.bench.check --gigabytes 0.1 --model FOLDER      # with tokens
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson

CODE = """
import json, resource, sys, time
from tuning import formats
start = time.monotonic()
report = formats.check(sys.argv[1], formats.Asked(model=sys.argv[2] or None))
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
heavy = [name for name in ("torch", "transformers", "pandas") if name in sys.modules]
print(json.dumps({"rows": report.rows, "counts": report.counts, "seconds": round(time.monotonic() - start, 1),
                  "cpu_seconds": round(used.ru_utime + used.ru_stime, 1), "peak_mb": peak // 1024, "heavy": heavy}))
"""


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
        done = subprocess.run([sys.executable, "-c", CODE, str(path), asked.model], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        found = {"bench": "check", "bytes": path.stat().st_size, "repeated": repeated, **json.loads(done.stdout)}
    if found["counts"].get("duplicate") != repeated:
        sys.exit(f"{repeated} rows stand twice, and {found['counts'].get('duplicate')} were found")
    print(json.dumps(found) if asked.json else "\n".join(f"{key}: {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
