"""`chaintune data from-runs`: what ran here, and what people thought of it, as training data."""

import re
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli import flags, show
from apps.cli.data.rows_words import say
from apps.cli.data.split import names, numbers
from apps.text import language
from chains.errors import UsageError

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}


def from_runs(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The chat JSONL file; preferences go beside it, into NAME.preferences.jsonl."),
    ],
    feedback: Annotated[str, typer.Option("--feedback", help="up (rated up, or corrected), down, or any.")] = "up",
    chain: Annotated[
        str | None, typer.Option("--chain", help="Only the runs of this chain, as `runs list` names it.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only runs from then on: 2026-05-01, 2026-05-01T12:00, or 7d, 12h.")
    ] = None,
    fractions: Annotated[
        str | None, typer.Option("--split", help="Also cut each file into parts of these shares, for example 0.9,0.1.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the split.")] = 0,
    keep_private: Annotated[
        bool, typer.Option("--keep-private", help="Leave personal data and secrets as they are.")
    ] = False,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Make training data of recorded runs: demonstrations, and preferences where an answer was corrected or rated against another.

    Personal data and secrets are replaced, equal rows come once, and NAME.lineage.jsonl says which runs each row is from.

    Example: chaintune data from-runs --feedback up --since 30d --split 0.9,0.1 --out liked.jsonl
    """
    from tuning import from_runs as source

    shares = numbers("--split", fractions, "0.9,0.1") if fractions else []
    found = source.collect(feedback, chain, _moment(since, time.time()), private=not keep_private)
    if not found.chat and not found.preferences:
        raise UsageError(
            f"no run with feedback {feedback!r} has an answer to learn from; rate some answers first, or use --feedback any"
        )
    files: list[dict[str, Any]] = []
    for path, made in ((out, found.chat), (out.with_name(f"{out.stem}.preferences.jsonl"), found.preferences)):
        if made:
            files += _save(path, made, shares, seed)
    redacted = sum(item.lineage["redacted"] for item in [*found.chat, *found.preferences])
    if json:
        show.as_json({"files": files, "runs": found.looked_at, "twice": found.twice, "redacted": redacted})
        return
    for file in files:
        show.say(say("from_runs", language(lang), runs=found.looked_at, twice=found.twice, redacted=redacted, **file))


def _save(path: Path, made: Sequence[Any], shares: Sequence[float], seed: int) -> list[dict[str, Any]]:
    from tuning import splitting
    from tuning.lines import canonical, writing

    with writing([path, path.with_name(f"{path.stem}.lineage.jsonl")]) as (rows, lineage):
        for item in made:
            rows.write(canonical(item.row) + b"\n")
            lineage.write(canonical(item.lineage) + b"\n")
    files = [{"file": str(path), "rows": len(made)}]
    if shares:
        parts = [path.with_name(f"{path.stem}.{name}.jsonl") for name in names(len(shares))]
        counts = splitting.split(path, parts, shares, seed)
        files += [{"file": str(part), "rows": count} for part, count in zip(parts, counts, strict=True)]
    return files


def _moment(text: str | None, now: float) -> float | None:
    """Return the time that `text` says, in seconds since 1970."""
    if text is None:
        return None
    if ago := re.fullmatch(r"(\d{1,6})([mhdw])", text.strip()):
        return now - int(ago[1]) * _UNITS[ago[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--since {text!r} is no time; write 2026-05-01, 2026-05-01T12:00, or 7d for the last seven days"
        ) from error
