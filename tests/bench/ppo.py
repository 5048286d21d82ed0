"""PPO beside TRL 1.12's PPOTrainer: episodes a second, the two in turn on the same core, with the same weights and prompts.

    python -m tests.bench.ppo --trl-python ENV/bin/python --trl FOLDER [--epochs 4 1] [--rounds 3] [--json]

tests/tuning/test_trl_peer.py's head says how to make ENV and FOLDER, and holds that advantages, losses and gradients are equal on a batch.
An update is 32 prompts of 57 tokens with 48 sampled each, fp32, four models, one optimiser step an epoch. A comparison is printed only where
both sampled as many tokens and their policies are as unsure (entropy within 5 %). Ours is shown by part, and on a shared trunk, with LoRA
and with both too, which are other algorithms: they have no ratio to the peer, but `times` ours by CPU seconds. With --dtype bf16 ours
computes in bfloat16 over float32 weights, and the peer runs twice: with its `bf16=True`, and with weights that are bfloat16 themselves.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from tests.bench import models
from tests.bench.compare import Side, alternate, comparison, say

PROMPT, ANSWER = 57, 48
PEERS = {"fp32": [("trl 1.12", False)], "bf16": [("trl 1.12 bf16=True", False), ("trl 1.12 bf16 weights", True)]}
"""For each dtype the peers' names, and whether their weights are bfloat16."""
OTHERS: dict[str, dict[str, Any]] = {
    "shared trunk": {"shared_trunk": True},
    "LoRA": {"lora_rank": 8},
    "shared trunk and LoRA": {"shared_trunk": True, "lora_rank": 8},
}
"""What else ours can be, by name."""


def main() -> None:
    given = _arguments()
    folder = models.folder(given.cache, "S")
    prompts = [row["ids"][-PROMPT:] for row in models.requests(folder, given.episodes)]
    common = {"folder": str(folder), "threads": 1, "cores": given.cores, "answer": ANSWER, "prompts": prompts}
    for epochs in given.epochs:
        told = {**common, "epochs": epochs, "dtype": given.dtype}
        ours = Side("ours", sys.executable, {**told, "side": "ppo ours"})
        others = [
            Side(f"ours, {name}", sys.executable, {**told, "side": "ppo ours", "more": more})
            for name, more in OTHERS.items()
        ]
        theirs = [
            Side(name, given.trl_python, {**told, "side": "ppo trl", "trl": given.trl, "pure": pure})
            for name, pure in PEERS[given.dtype]
        ]
        alternate([ours, *theirs, *others], given.rounds, given.cache / "ppo.log")
        for side in (ours, *others, *theirs):
            rate(side, given.episodes)
        for peer in theirs:
            report(given, "ppo", f"{epochs} epochs", ours, peer)
        parts(given, f"{epochs} epochs", ours, *others)


def rate(side: Side, episodes: int) -> None:
    """Put the episodes a second, by the clock and by the CPU's, beside each run."""
    for run in side.runs:
        run["episodes"] = episodes / run["answers"]["seconds"]
        run["by_cpu"] = episodes / run["answers"]["cpu"]


def report(given: argparse.Namespace, bench: str, path: str, ours: Side, theirs: Side) -> None:
    """Print the comparison where the two did the same work, and why not where they did not."""
    facts: dict[str, Any] = {
        "bench": bench,
        "peer": theirs.name,
        "model": "S",
        "dtype": given.dtype,
        "threads": 1,
        "path": path,
    }
    if why := unequal(ours, theirs):
        say(given, {**facts, "not_compared": why})
    else:
        row = comparison(ours, theirs, "episodes", "episodes/s", **facts)
        row["cpu_ratio"] = comparison(ours, theirs, "by_cpu", "episodes/s")["ratio"]
        say(given, row)


def parts(given: argparse.Namespace, path: str, *sides: Side) -> None:
    """Print where the time of our update goes; and of every side but the first one how many times its CPU's rate is."""
    for side in sides:
        if side.runs:
            times = (
                {}
                if side is sides[0] or not sides[0].runs
                else {"times": round(side.median("by_cpu") / sides[0].median("by_cpu"), 2)}
            )
            parts = side.runs[-1]["answers"]["parts"]
            whole = sum(parts.values())
            shares = {name: f"{seconds / whole:.0%}" for name, seconds in parts.items()}
            say(
                given,
                {"side": side.name, "path": path, "episodes/s": round(side.median("episodes"), 2), **times, **shares},
            )


def unequal(ours: Side, theirs: Side) -> str:
    """Return why the two did not do the same work; nothing where they did."""
    for side in (ours, theirs):
        if side.failed or not side.runs:
            return f"{side.name} did not run: {side.failed}"
    a, b = ours.runs[-1]["answers"], theirs.runs[-1]["answers"]
    if abs(a["tokens"] / b["tokens"] - 1) > 0.01:
        return f"they sampled {a['tokens']} and {b['tokens']} tokens an answer"
    if b["entropy"] and abs(a["entropy"] / b["entropy"] - 1) > 0.05:
        return f"their policies' entropies are {a['entropy']:.2f} and {b['entropy']:.2f} nats"
    return ""


def _arguments() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "chaintune-bench"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl-python", default=os.environ.get("CHAINTUNE_TRL"), help="the peer's interpreter")
    parser.add_argument("--trl", default=os.environ.get("CHAINTUNE_TRL_PPO"), help="the folder that holds TRL 1.12")
    parser.add_argument("--epochs", type=int, nargs="+", default=[4, 1], help="TRL's default is 4, InstructGPT's 1")
    parser.add_argument("--episodes", type=int, choices=[8, 16, 24, 32], default=32, help="answers an update")
    parser.add_argument("--dtype", choices=PEERS, default="fp32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, nargs="+", default=sorted(os.sched_getaffinity(0))[-1:])
    parser.add_argument("--cache", type=Path, default=cache, help="the folder for the model and the log")
    parser.add_argument("--json", action="store_true", help="one JSON object for each comparison")
    given = parser.parse_args()
    if not given.trl_python or not given.trl:
        parser.error("name TRL's interpreter and folder: tests/tuning/test_trl_peer.py's head says how to make them")
    given.cache.mkdir(parents=True, exist_ok=True)
    return given


if __name__ == "__main__":
    main()
