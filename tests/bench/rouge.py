"""How fast near instructions are refused: `python tests/bench/rouge.py --peer-python PEER/bin/python [--candidates 200] [--pool 50000] [--json]`.

Ours is tuning.generate.rouge's Pool; the peer is google's rouge-score, scoring every pair as Self-Instruct's code does (a RougeScorer of
rougeL, no stemmer). PEER is an environment with `pip install rouge-score==0.1.2`. Texts are drawn from a small grammar, some near others.
Every pair by the peer would take too long: it scores `--sample` candidates against the whole pool, and its time for all is that, scaled;
what is refused is compared on those. `--json` says of how many. Ours is timed on all, the index included.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tuning.generate.rouge import THRESHOLD, Pool

VERBS = [
    "write",
    "explain",
    "summarise",
    "list",
    "translate",
    "compare",
    "suggest",
    "describe",
    "rewrite",
    "classify",
    "compute",
    "edit",
    "plan",
    "name",
    "sort",
]
KINDS = [
    "poem",
    "letter",
    "story",
    "recipe",
    "email",
    "speech",
    "review",
    "sentence",
    "paragraph",
    "question",
    "answer",
    "schedule",
    "table",
    "joke",
    "summary",
]
TOPICS = [
    "winter",
    "rivers",
    "taxes",
    "a",
    "broken",
    "bicycle",
    "the",
    "first",
    "day",
    "at",
    "school",
    "a",
    "lost",
    "key",
    "two",
    "old",
    "friends",
    "coffee",
    "moving",
    "house",
    "bread",
    "a",
    "long",
    "train",
    "journey",
    "garden",
    "birds",
    "the",
    "price",
    "of",
    "milk",
    "climate",
    "a",
    "small",
    "island",
    "chess",
    "night",
    "work",
    "music",
    "lessons",
]
ENDS = [
    "in three sentences",
    "for a child",
    "without the letter e",
    "as a list",
    "and give reasons",
    "using simple words",
    "in a formal tone",
]

PEER = """
import json, sys, time
from rouge_score import rouge_scorer
scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
asked, kept, threshold = json.load(open(sys.argv[1]))
begun, refused = time.perf_counter(), []
for text in asked:
    scores = [scorer.score(text, other)["rougeL"].fmeasure for other in kept]
    refused.append(max(scores) > threshold)
print(json.dumps({"seconds": time.perf_counter() - begun, "refused": refused}))
"""


def text(draw: random.Random) -> str:
    """Return an instruction of 6 to 30 words."""
    words = [
        draw.choice(VERBS),
        "a",
        draw.choice(KINDS),
        "about",
        *draw.choices(TOPICS, k=draw.randint(1, 20)),
        draw.choice(ENDS),
    ]
    return " ".join(words)


def near(draw: random.Random, other: str) -> str:
    """Return `other` with up to half of its words changed."""
    words = other.split()
    for place in draw.sample(range(len(words)), draw.randint(0, len(words) // 2)):
        words[place] = draw.choice(TOPICS)
    return " ".join(words)


def ours(asked: list[str], kept: list[str]) -> tuple[float, float, list[bool]]:
    """Return the seconds to index the pool, those to ask, and what is refused."""
    begun = time.perf_counter()
    pool = Pool(kept)
    indexed = time.perf_counter()
    refused = [pool.near(one, THRESHOLD) is not None for one in asked]
    return indexed - begun, time.perf_counter() - indexed, refused


def theirs(python: str, asked: list[str], kept: list[str]) -> tuple[float, list[bool]]:
    """Return the peer's seconds and what it refuses."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.json"
        file.write_text(json.dumps([asked, kept, THRESHOLD]), encoding="utf-8")
        done = subprocess.run([python, "-c", PEER, str(file)], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    return said["seconds"], said["refused"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--pool", type=int, default=50_000)
    parser.add_argument("--sample", type=int, default=10, help="candidates that the peer scores in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    draw = random.Random(0)
    kept = [text(draw) for _ in range(arguments.pool)]
    asked = [near(draw, draw.choice(kept)) if draw.random() < 0.5 else text(draw) for _ in range(arguments.candidates)]
    ratios, mine, peers, equal = [], [], [], 0
    for number in range(arguments.rounds):
        index, ask, refused = ours(asked, kept)
        first = number * arguments.sample % len(asked)
        places = range(first, min(first + arguments.sample, len(asked)))
        seconds, peer_refused = theirs(arguments.peer_python, [asked[i] for i in places], kept)
        if [refused[i] for i in places] != peer_refused:
            sys.exit("what is refused differs; no ratio")
        equal += len(places)
        mine.append(index + ask)
        peers.append(seconds * len(asked) / len(places))
        ratios.append(peers[-1] / mine[-1])
    result = {
        "bench": "rouge",
        "peer": "rouge-score",
        "unit": f"s for {len(asked)} candidates against {len(kept)}",
        "ours": round(statistics.median(mine), 3),
        "theirs": round(statistics.median(peers), 1),
        "theirs_extrapolated_from": arguments.sample,
        "ratio": round(statistics.median(ratios), 1),
        "ratio_min": round(min(ratios), 1),
        "ratio_max": round(max(ratios), 1),
        "rounds": arguments.rounds,
        "refused": sum(refused),
        "compared": equal,
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        print("  ".join(f"{key} {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
