"""GRPO beside TRL 1.16's GRPOTrainer: episodes a second, the two in turn on the same core, with the same weights and prompts.

    python -m tests.bench.grpo --trl ENV/bin/python [--dtype bf16] [--rounds 3] [--json]

An update is 8 prompts of about 57 tokens with a group of 4 answers of 48 tokens to each, beta 0.02, a reward model, one optimiser step. A
comparison is printed only where both sampled as many tokens (within 1 %: the peer may end an answer by chance) and their policies are as
unsure (entropy within 5 %). bf16 is the peer's `bf16=True`, and ours by bfloat16 copies of float32 weights.
"""

import argparse
import os
import sys
from pathlib import Path

from tests.bench import models, ppo
from tests.bench.compare import Side, alternate

PROMPTS, GROUP = 8, 4


def main() -> None:
    given = _arguments()
    folder = models.folder(given.cache, "S")
    told = {"folder": str(folder), "threads": 1, "cores": given.cores, "answer": ppo.ANSWER, "dtype": given.dtype}
    told |= {"texts": texts(folder), "group": GROUP}
    ours = Side("ours", sys.executable, {**told, "side": "grpo ours"})
    theirs = Side("trl 1.16", given.trl, {**told, "side": "grpo trl"})
    alternate([ours, theirs], given.rounds, given.cache / "grpo.log")
    for side in (ours, theirs):
        ppo.rate(side, PROMPTS * GROUP)
    path = f"groups of {GROUP}"
    ppo.report(given, "grpo", path, ours, theirs)
    ppo.parts(given, path, ours)


def texts(folder: Path) -> list[str]:
    """Return the prompts as text, which is what the peer takes."""
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(folder)
    return [words.decode(row["ids"][-ppo.PROMPT :]) for row in models.requests(folder, PROMPTS)]


def _arguments() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "chaintune-bench"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--trl", default=os.environ.get("CHAINTUNE_TRL"), help="a python with trl 1.16 (default: CHAINTUNE_TRL)"
    )
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, nargs="+", default=sorted(os.sched_getaffinity(0))[-1:])
    parser.add_argument("--cache", type=Path, default=cache, help="the folder for the model and the log")
    parser.add_argument("--json", action="store_true", help="one JSON object for each comparison")
    given = parser.parse_args()
    if not given.trl:
        parser.error("name TRL's interpreter: tests/tuning/test_trl_peer.py's head says how to make it")
    given.cache.mkdir(parents=True, exist_ok=True)
    return given


if __name__ == "__main__":
    main()
