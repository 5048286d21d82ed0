"""How fast a local model writes, ours and other libraries in turn in one run: `python tests/bench/generate.py [throughput memory latency streams]`.

throughput  32 requests that begin with the same 150 tokens and bring 20 to 200 of their own, 16 to 128 new tokens each, greedy: useful tokens a second
            over the whole job, prompts included. What a library writes past a request's own limit counts for nothing
memory      the most memory that the same job takes above the loaded model
latency     one conversation: tokens a second, and how soon the first token of a long prompt comes, its beginning known or not
streams     64 answers streamed at once: failures, the slowest stream, the gaps between tokens

Models: S (14 M) and M (100 M), random from a seed (models.py). Each library runs in processes pinned to the same cores, at its best setting, in turn, A B A B;
a ratio is of the same round, above 1 where ours is better. Answers are compared first with those of transformers in fp32: where ours differ in fp32 no ratio is printed.
In bf16 answers part at near ties, so the share that is equal is printed, and each token is judged after the text before it.
The other libraries have an environment of their own (peers.txt), made by --setup or at first use.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).parents[2])
)  # before this folder, whose retrieval.py hides the package of that name

from tests.bench import latency, models, peers, streams, throughput

MODES = {
    "throughput": throughput.run,
    "memory": throughput.run_memory,
    "latency": latency.run,
    "streams": streams.run,
}


def main() -> None:
    given = _arguments()
    if sys.platform != "linux":
        sys.exit("this benchmark pins, stops and measures processes as Linux does; run it there")
    if given.setup:
        return peers.setup(given.peers)
    if given.quick:
        given.models, given.dtypes, given.rounds, given.limit = ["S"], ["fp32"], 1, 4
        given.ours, given.only = ["engine"], ["transformers static 8"]
    elif not peers.ready(given.peers):
        peers.setup(given.peers)
    given.foreign = sys.executable if given.quick else str(peers.python(given.peers))
    for mode in given.modes or ["throughput"]:
        for name in given.models:
            given.folder = models.folder(given.cache, name)
            for dtype in given.dtypes:
                MODES[mode](given, name, dtype)


def _arguments() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "chaintune-bench"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modes", nargs="*", choices=[*MODES, []], metavar="MODE")
    parser.add_argument("--models", nargs="+", choices=["S", "M"], default=["S", "M"])
    parser.add_argument("--dtypes", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument(
        "--ours",
        nargs="+",
        choices=throughput.OURS,
        default=["engine", "batch"],
        help="our ways of throughput and memory: a call of the engine, of llm.batch, or llm.ainvoke for all at once",
    )
    names = ", ".join(throughput.PEERS)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=throughput.PEERS,
        metavar="PEER",
        help=f"the peers of throughput and memory, all of these by default: {names}",
    )
    parser.add_argument("--threads", type=int, choices=[1, 2], default=1)
    parser.add_argument("--cores", type=int, nargs="+", help="the cores to run on; by default the last ones")
    parser.add_argument("--rounds", type=int, default=5, help="of throughput and latency; memory and streams take one")
    parser.add_argument("--limit", type=int, default=32, help="how many of the 32 requests of throughput and memory")
    parser.add_argument("--cache", type=Path, default=cache, help="the folder for the models and the log")
    parser.add_argument("--peers", type=Path, help="the folder of the peers' environment; by default in the cache")
    parser.add_argument("--setup", action="store_true", help="make the peers' environment and stop")
    parser.add_argument("--quick", action="store_true", help="S in fp32, a few requests, one round, transformers alone")
    parser.add_argument("--json", action="store_true", help="one JSON object for each comparison")
    given = parser.parse_args()
    for count, least in (("rounds", 1), ("limit", 2)):
        if getattr(given, count) < least:
            parser.error(f"--{count} is {getattr(given, count)}; give at least {least}")
    given.cache.mkdir(parents=True, exist_ok=True)
    given.peers = given.peers or given.cache / "peers"
    given.cores = given.cores or sorted(os.sched_getaffinity(0))[-given.threads :]
    return given


if __name__ == "__main__":
    main()
