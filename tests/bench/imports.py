"""What imports cost, in fresh processes, ours and peers': `python -m tests.bench.imports [--json] [--rounds 5]`.

Milliseconds of CPU time, the interpreter's own start left out, best of the rounds. A peer that is not installed is left out.
"""

import argparse
import json
import subprocess
import sys

OURS = {
    "import chains": "import chains",
    "from chains import LLMChain": "from chains import LLMChain",
}
PEERS = {
    "langchain_core alone": "from langchain_core.runnables import RunnableLambda; from langchain_core.language_models import BaseChatModel; "
    "from langchain_core.prompts import PromptTemplate; from langchain_core.output_parsers import StrOutputParser",
    "langchain_classic": "from langchain_classic.chains import LLMChain",
    "langchain_openai": "from langchain_openai import ChatOpenAI",
    "langchain_huggingface": "from langchain_huggingface import ChatHuggingFace",
}


def milliseconds(code: str) -> float | None:
    """Return what `code` costs in a process of its own; None where it cannot be imported."""
    timed = f"import time; began = time.process_time()\n{code}\nprint(1000 * (time.process_time() - began))"
    done = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True)
    return float(done.stdout) if done.returncode == 0 else None


def main() -> None:
    """Measure every import, in turn, and print each of ours against each peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    codes = {name: code for name, code in (OURS | PEERS).items() if milliseconds(code) is not None}
    rounds = [{name: milliseconds(code) or 0.0 for name, code in codes.items()} for _ in range(given.rounds)]
    for ours in OURS:
        for peer in [name for name in PEERS if name in codes]:
            ratios = [row[peer] / row[ours] for row in rounds]
            a, b = min(row[ours] for row in rounds), min(row[peer] for row in rounds)
            row = {"bench": ours, "peer": peer, "model": None, "dtype": None, "threads": 1, "unit": "ms", "ours": round(a, 1),
                   "theirs": round(b, 1), "ratio": round(b / a, 2), "ratio_min": round(min(ratios), 2),
                   "ratio_max": round(max(ratios), 2), "rss_ratio": None, "rounds": given.rounds}  # fmt: skip
            print(
                json.dumps(row)
                if given.json
                else "{bench:28} {ours:8} ms   {peer:24} {theirs:8} ms   {ratio} x".format(**row)
            )


if __name__ == "__main__":
    main()
