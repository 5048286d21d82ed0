"""The server under load, beside `transformers serve --continuous-batching`: `python tests/bench/serve.py [throughput cancel streams loading]`.

throughput  32 clients at once, each with one request of the generation benchmark (models.py: prompts that begin with the same 150 tokens, 16 to 128 new
            tokens, greedy, fp32): tokens a second by wall and by CPU time, in rounds A B A B, and the most memory above the loaded model in the first of them; the
            peer's KV cache has room for what ours ever holds. A ratio above 1 means that ours is better
cancel      100 requests of each kind that their client leaves; then the next request's first token over an idle server's (median of rounds), and
            how long after the last cancel the server had no answer under way
streams     64 streams at once, five times the same on one server, and 200 once: failures, and how much its memory has grown since the first time,
            each measured when the server has had three seconds' rest
loading     the longest that another request waits for its answer while the first model is loaded (in rounds)

Every server runs in a process pinned to its cores. The peer's python is --peer; by default this one, which has what
`pip install 'transformers[serving]'` brings. Bars: throughput 1.5 at least, memory 1.25 at least
(ours is 0.8 of theirs), cancel 1.2 at most, growth 0.1 at most, loading 50 ms at most.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(
    0, str(Path(__file__).parents[2])
)  # before this folder, whose retrieval.py hides the package of that name

import httpx

from tests.bench import models, served
from tests.bench.compare import agreement

OURS, PEER = "ours", "transformers serve"
REST_S = 3.0
LEAST = 0.8  # of an answer's characters that must be the peer's, on average
KINDS = {
    "stream, once it has begun": ("/v1/chat/completions", {"stream": True}),
    "stream, before it begins": ("/v1/chat/completions", {"stream": True}),
    "whole answer": ("/v1/chat/completions", {}),
    "four answers at once": ("/v1/chat/completions", {"n": 4}),
    "legacy completion": ("/v1/completions", {}),
    "response": ("/v1/responses", {"stream": True}),
}


def throughput(given: argparse.Namespace) -> None:
    """Compare tokens a second, and memory."""
    asked = models.requests(given.folder, given.clients)
    held = sum(len(row["ids"]) + row["max_tokens"] for row in asked) + 64 * len(asked)  # what a round adds to a prompt
    log = given.cache / "serve-log.txt"
    place = (given.threads, given.cores, log)
    with (
        served.ours(given.folder, *place) as ours,
        served.transformers(given.peer, given.folder, *place, held) as theirs,
    ):
        loaded = {server.name: server.memory_mb("VmRSS") for server in (ours, theirs)}
        for server in (ours, theirs):
            server.forget_peak()
            server.together(_round(asked, "warm")[:4], 4)
        rounds: list[dict[str, Any]] = []
        peak: dict[str, float] = {}  # of the first round: later ones find what ours has kept of other prompts
        for number in range(given.rounds):
            row = {server.name: server.together(_round(asked, number), given.clients) for server in (ours, theirs)}
            for name, run in row.items():
                _say(given, {"round": number + 1, "server": name, "wall_s": run["wall_s"], "cpu_s": run["cpu_s"]})
            rounds.append(row)
            peak = peak or {server.name: server.memory_mb("VmHWM") - loaded[server.name] for server in (ours, theirs)}
    _tell_throughput(given, rounds, peak)


def _round(asked: list[dict[str, Any]], number: object) -> list[dict[str, Any]]:
    """Return the requests with another last message, which no server has read yet."""
    return [
        {
            **row,
            "messages": [
                *row["messages"][:-1],
                {"role": "user", "content": f"{number}. {row['messages'][-1]['content']}"},
            ],
        }
        for row in asked
    ]


def _tell_throughput(given: argparse.Namespace, rounds: list[dict[str, Any]], peak: dict[str, float]) -> None:
    ours, theirs = ([row[name] for row in rounds] for name in (OURS, PEER))
    texts = [[text for run in runs for text, _ in run["answers"]] for runs in (ours, theirs)]
    counts = [[sum(count for _, count in run["answers"]) for run in runs] for runs in (ours, theirs)]
    facts = {"bench": "serve throughput", "peer": PEER, "model": given.model, "dtype": "fp32", "threads": given.threads}
    equal = agreement(texts[0], texts[1])
    if equal < LEAST or counts[0] != counts[1]:
        said = f"{equal:.0%} of the answers are equal; tokens {counts[0]} and {counts[1]}"
        return _say(given, {**facts, "not_compared": said})
    memory = peak[PEER] / peak[OURS]
    for unit in ("wall_s", "cpu_s"):
        ratios = [b[unit] / a[unit] for a, b in zip(ours, theirs, strict=True)]
        mine, other = (
            statistics.median(n / run[unit] for n, run in zip(counts[0], runs, strict=True)) for runs in (ours, theirs)
        )
        row = {**facts, "unit": f"tokens/{unit[:-2]} s", "ours": mine, "theirs": other, **_spread(ratios)}
        _say(given, {**row, "rss_ratio": memory, "rounds": len(ratios), "equal": equal})
    row = {
        **facts,
        "bench": "serve memory",
        "unit": "MB above the loaded model",
        "ours": peak[OURS],
        "theirs": peak[PEER],
    }
    _say(given, {**row, **_spread([memory]), "rss_ratio": memory, "rounds": 1})


def _spread(ratios: list[float]) -> dict[str, float]:
    return {"ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}


def cancel(given: argparse.Namespace) -> None:
    """Say how the first token after cancelled requests comes, beside an idle server's."""
    asked = models.requests(given.folder, given.clients)
    with served.ours(
        given.folder, given.threads, given.cores, given.cache / "serve-log.txt", "--max-waiting", "256"
    ) as server:
        probe = _round(asked, "probe")[0]
        for _ in range(5):
            server.first_token_s(probe)
        for kind in KINDS:
            ratios: list[float] = []
            freed: list[float] = []
            for _ in range(given.rounds):
                idle = statistics.median(server.first_token_s(probe) for _ in range(5))
                with ThreadPoolExecutor(25) as pool:
                    rows = [asked[number % len(asked)] for number in range(given.count)]
                    left = sum(pool.map(partial(_leave, server, kind), rows))
                freed.append(server.idle_after_s())
                ratios.append(server.first_token_s(probe) / idle)
            row = {
                "bench": "serve cancel",
                "kind": kind,
                "cancelled": left,
                "of": given.count,
                "ratio": statistics.median(ratios),
            }
            _say(
                given,
                {
                    **row,
                    "ratio_min": min(ratios),
                    "ratio_max": max(ratios),
                    "idle_ms": 1000 * idle,
                    "freed_ms": 1000 * statistics.median(freed),
                    "rounds": len(ratios),
                },
            )


def _leave(server: served.Server, kind: str, request: dict[str, Any]) -> bool:
    """Ask and go away; return whether the answer was still under way."""
    path, more = KINDS[kind]
    body = server.chat(request, **more)
    if path != "/v1/chat/completions":
        text = request["messages"][-1]["content"]
        body = {"model": body["model"], "max_tokens" if path == "/v1/completions" else "max_output_tokens": 128, **more}
        body["prompt" if path == "/v1/completions" else "input"] = text
    begun = kind == "stream, once it has begun" or kind == "response"
    with (
        contextlib.suppress(httpx.ReadTimeout),
        httpx.Client(base_url=server.url, timeout=60 if begun else 0.2) as short,
    ):
        with short.stream("POST", path, json=body) as reply:
            if begun:
                next(reply.iter_lines())
                return True
            reply.read()
        return False
    return True


def streams(given: argparse.Namespace) -> None:
    """Say how many streams at once fail, and how the server's memory grows."""
    asked = models.requests(given.folder, 32)
    flags = ("--max-waiting", "256")
    with served.ours(given.folder, given.threads, given.cores, given.cache / "serve-log.txt", *flags) as server:
        sizes = []
        for count in (64, 64, 64, 64, 64, 200):
            rows = [{**asked[place % len(asked)], "max_tokens": 20} for place in range(count)]
            with ThreadPoolExecutor(count) as pool:
                failures = [failure for failure in pool.map(partial(_streamed, server), rows) if failure]
            at_once = server.memory_mb("VmRSS")
            time.sleep(REST_S)
            sizes.append(server.memory_mb("VmRSS"))
            row = {
                "bench": "serve streams",
                "streams": count,
                "failed": len(failures),
                "failure": next(iter(failures), ""),
            }
            _say(given, {**row, "rss_mb": sizes[-1], "growth": sizes[-1] / sizes[0] - 1, "at_once_mb": at_once})


def _streamed(server: served.Server, request: dict[str, Any]) -> str:
    """Return what went wrong with a streamed answer, or ""."""
    try:
        body = server.chat(request, stream=True)
        with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body, timeout=600) as reply:
            reply.raise_for_status()
            return "" if "".join(served.pieces(reply)) else "an empty answer"
    except (httpx.HTTPError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"


def loading(given: argparse.Namespace) -> None:
    """Say how long requests wait while the first model is loaded, in rounds, each on a server of its own."""
    for number in range(given.rounds):
        with served.ours(
            given.folder, given.threads, given.cores, given.cache / "serve-log.txt", loaded=False
        ) as server:
            server.http.get("/health").raise_for_status()
            with ThreadPoolExecutor(1) as pool:
                began = time.perf_counter()
                loads = pool.submit(server.load)
                waits = []
                while not loads.done():
                    waits.append(1000 * served.seconds(lambda: server.http.get("/health")))
                    time.sleep(0.005)
                loads.result()
            row = {
                "bench": "serve loading",
                "round": number + 1,
                "load_s": time.perf_counter() - began,
                "requests": len(waits),
            }
            _say(
                given,
                {
                    **row,
                    "median_ms": statistics.median(waits),
                    "p99_ms": sorted(waits)[int(0.99 * len(waits))],
                    "longest_ms": max(waits),
                },
            )


def _say(given: argparse.Namespace, row: dict[str, Any]) -> None:
    row = {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}
    print(json.dumps(row) if given.json else "  ".join(f"{key} {value}" for key, value in row.items()), flush=True)


MODES = {"throughput": throughput, "cancel": cancel, "streams": streams, "loading": loading}


def main() -> None:
    """Run the modes that are named; all of them by default."""
    given = _arguments()
    if sys.platform != "linux":
        sys.exit("this benchmark pins and measures processes as Linux does; run it there")
    given.folder = models.folder(given.cache, given.model)
    for mode in given.modes or MODES:
        MODES[mode](given)


def _arguments() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "chaintune-bench"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modes", nargs="*", choices=[*MODES, []], metavar="MODE")
    parser.add_argument("--model", choices=["S", "M"], default="S", help="S has 14 M weights, M 100 M")
    parser.add_argument("--clients", type=int, default=32, help="how many ask at once, one request each (32 at most)")
    parser.add_argument("--count", type=int, default=100, help="how many requests of a kind are cancelled")
    parser.add_argument("--rounds", type=int, default=5, help="of throughput, and of each kind of cancel")
    parser.add_argument("--threads", type=int, choices=[1, 2], default=1, help="of each server")
    parser.add_argument("--cores", type=int, nargs="+", help="the servers' cores; by default the last ones")
    parser.add_argument("--peer", default=sys.executable, help="the python that has transformers[serving]")
    parser.add_argument("--cache", type=Path, default=cache, help="the folder for the models and the log")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    given.cores = given.cores or sorted(os.sched_getaffinity(0))[-given.threads :]
    return given


if __name__ == "__main__":
    main()
