"""What the demo claims, over five seeds: `python tests/bench/demo_seeds.py [--seeds 5] [--json]`.

For each seed, in a state folder of its own: SFT has its demonstrations, the reward model beats chance on held-out rankings, PPO raises
the reward model's score and the labeler's own rule on questions without a demonstration while exact answers do not fall, the KL stays
bounded, and retrieval answers unseen questions with a verbatim quote.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

COLUMNS = ("seed", "sft_exact", "rm_accuracy", "reward", "judged", "exact", "sampled_exact", "kl", "quotes", "seconds")


def one(seed: int) -> dict[str, Any]:
    """Return the claims' figures of one seed; `reward`, `judged` and the exact ones are PPO's minus SFT's on ranked-only questions."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CHAINTUNE_HOME": f"{folder}/home"}
        command = [sys.executable, "-m", "apps.cli", "demo", "--seed", str(seed), "--out", f"{folder}/out", "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    of = {(row["model"], row["group"]): row for row in facts["table"]}
    before, after = of["SFT", "ranked"], of["PPO", "ranked"]
    moved = {key: after[key] - before[key] for key in ("reward", "judged", "exact", "sampled_exact")}
    return {
        "seed": seed,
        "sft_exact": of["SFT", "demonstrations"]["exact"],
        "rm_accuracy": facts["reward_model"]["accuracy"],
        **moved,
        "kl": after["kl"],
        "quotes": facts["quotes"]["all"],
        "seconds": facts["seconds"],
        "table": facts["table"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for seed in range(arguments.seeds):
        rows.append(one(seed))
        if arguments.json:
            print(json.dumps(rows[-1]), flush=True)
        else:
            print("  ".join(f"{key} {rows[-1][key]:.3g}" for key in COLUMNS), flush=True)
    if not arguments.json:
        print("mean  " + "  ".join(f"{key} {statistics.mean(row[key] for row in rows):.3g}" for key in COLUMNS[1:]))


if __name__ == "__main__":
    main()
