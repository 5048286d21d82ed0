"""One conversation at a time: seconds a token, and seconds until the first token of a long prompt.

The long prompt begins with 2,000 tokens (S, whose context is short: 400). It is asked twice with another question at its end: the first time nothing of it
is known, the second time its beginning is; model.generate knows nothing from one call to the next.
"""

import argparse
import sys

from tests.bench.compare import Side, alternate, comparison, say, spec

TOKEN = ("token_s", "tokens/s of one conversation")
UNKNOWN = ("unknown_s", "first tokens/s, unknown beginning")
KNOWN = ("known_s", "first tokens/s, known beginning")


def run(given: argparse.Namespace, name: str, dtype: str) -> None:
    """Compare ours with model.generate, and our own known beginning with the unknown one."""
    base = {**spec(given, dtype), "how": "single"}
    ours = Side("invoke", sys.executable, {**base, "side": "ours"})
    theirs = Side("transformers one", given.foreign, {**base, "side": "transformers"})
    alternate([ours, theirs], given.rounds, given.cache / "log.txt")
    for side in (ours, theirs):
        if side.failed:
            sys.exit(f"{side.name}: {side.failed}")
    facts = {"bench": "generate latency", "model": name, "dtype": dtype, "threads": given.threads, "path": "invoke"}
    for part, unit in (TOKEN, UNKNOWN):
        row = comparison(_part(ours, part), _part(theirs, part), "rate", unit, **facts, peer=theirs.name)
        say(given, row)
    known, unknown = _part(ours, KNOWN[0]), _part(ours, UNKNOWN[0])
    say(given, comparison(known, unknown, "rate", KNOWN[1], **facts, peer="itself, unknown beginning"))


def _part(side: Side, part: str) -> Side:
    runs = [{**one, "rate": 1 / one["answers"][part]} for one in side.runs]
    return Side(side.name, side.python, side.spec, runs)
