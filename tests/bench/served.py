"""A server of OpenAI's API in a process of its own, pinned to its cores, and what it is asked over HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.bench import compare

START_S = 300.0
HEAD = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.sched_setaffinity(0, eval(sys.argv[1])); os.execvp(sys.argv[2], sys.argv[2:])"
"""Dies with the benchmark, and runs on the cores that it is given."""


class Server:
    """One server: where it is, what it calls the model, and what its process takes."""

    def __init__(self, name: str, pid: int, url: str, model: str) -> None:
        self.name, self.pid, self.url, self.model = name, pid, url, model
        self.http = httpx.Client(base_url=url, timeout=600, limits=httpx.Limits(max_connections=None))

    def chat(self, request: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Return the body of a request for exactly `max_tokens` greedy tokens."""
        asked = {"messages": request["messages"], "max_tokens": request["max_tokens"], "temperature": 0}
        return {"model": self.model, **asked, **more}

    def load(self) -> None:
        """Have the model loaded and nothing generated, as only ours can."""
        asked = {"model": self.model, "prompt": "x", "echo": True, "max_tokens": 0}
        self.http.post("/v1/completions", json=asked).raise_for_status()

    def answer(self, request: dict[str, Any]) -> tuple[str, int]:
        """Return a request's text and the number of its tokens."""
        reply = self.http.post("/v1/chat/completions", json=self.chat(request))
        reply.raise_for_status()
        made = reply.json()
        return made["choices"][0]["message"]["content"], made["usage"]["completion_tokens"]

    def together(self, requests: Sequence[dict[str, Any]], clients: int) -> dict[str, Any]:
        """Return the answers of so many clients at once, with the seconds and the server's CPU seconds that they took."""
        wall, cpu = time.perf_counter(), self.cpu_s()
        with ThreadPoolExecutor(clients) as pool:
            answers = list(pool.map(self.answer, requests))
        return {"wall_s": time.perf_counter() - wall, "cpu_s": self.cpu_s() - cpu, "answers": answers}

    def first_token_s(self, request: dict[str, Any]) -> float:
        """Return how long the first piece of a streamed answer takes."""
        began = time.perf_counter()
        with self.http.stream("POST", "/v1/chat/completions", json=self.chat(request, stream=True)) as reply:
            reply.raise_for_status()
            next(pieces(reply))
            return time.perf_counter() - began

    def idle_after_s(self) -> float:
        """Wait until the server has no answer under way and return how long that took."""
        began = time.perf_counter()
        while "chaintune_answers_under_way 0.0" not in self.http.get("/metrics").text:
            time.sleep(0.002)
        return time.perf_counter() - began

    def cpu_s(self) -> float:
        """Return the CPU seconds that the process has taken so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self, field: str) -> float:
        """Return VmRSS (now) or VmHWM (the most since `forget_peak`) in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(field))

    def forget_peak(self) -> None:
        """Let the most memory so far be what is taken now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def pieces(reply: httpx.Response) -> Iterator[str]:
    """Yield the texts of a streamed answer as they come."""
    for line in reply.iter_lines():
        if line.startswith("data: {"):
            row = json.loads(line.removeprefix("data: "))
            if "error" in row:
                raise RuntimeError(row["error"])
            if row["choices"] and (text := row["choices"][0]["delta"].get("content")):
                yield text


@contextmanager
def ours(folder: Path, threads: int, cores: list[int], log: Path, *flags: str, loaded: bool = True) -> Iterator[Server]:
    """Give `chaintune serve` with the model of `folder` loaded, unless it is not to be, and nothing generated."""
    with _started(
        "ours", [sys.executable, "-m", "apps.cli", "serve", "--model", f"hf:{folder}", *flags], threads, cores, log
    ) as (pid, url):
        server = Server("ours", pid, url, f"hf:{folder}")
        if loaded:
            server.load()
        yield server


@contextmanager
def transformers(python: str, folder: Path, threads: int, cores: list[int], log: Path, tokens: int) -> Iterator[Server]:
    """Give `transformers serve --continuous-batching` with the model of `folder` loaded, and a KV cache of `tokens` tokens."""
    command = [
        python, "-m", "transformers.cli.transformers", "serve", str(folder), "--continuous-batching", "--device", "cpu", "--dtype", "float32",
        "--cb-block-size", "32", "--cb-num-blocks", str(-(-tokens // 32)), "--cb-max-batch-tokens", "512",
    ]  # fmt: skip
    with _started("transformers serve", command, threads, cores, log) as (pid, url):
        yield Server("transformers serve", pid, url, str(folder))


@contextmanager
def _started(name: str, command: list[str], threads: int, cores: list[int], log: Path) -> Iterator[tuple[int, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        **compare.QUIET,
        **dict.fromkeys(compare.THREADS, str(threads)),
        "CUDA_VISIBLE_DEVICES": "",
    }
    environment |= {"PYTHONPATH": str(compare.ROOT), "CHAINTUNE_HOME": str(log.parent / "serve-home")}
    (log.parent / "serve-home").mkdir(exist_ok=True)
    with log.open("ab") as errors:
        child = subprocess.Popen(
            [sys.executable, "-c", HEAD, str(cores), *command, "--port", str(port)], env=environment, cwd=log.parent,
            stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
        )  # fmt: skip
    try:
        _wait(name, child, f"http://127.0.0.1:{port}", log)
        yield child.pid, f"http://127.0.0.1:{port}"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


def _wait(name: str, child: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
        if child.poll() is not None or time.monotonic() > end:
            sys.exit(f"{name} did not start; see {log}")
