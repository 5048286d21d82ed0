"""`chaintune data from-runs`: what ran here, and what people thought of it, as training data."""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli import flags, show
from apps.cli.data.rows_words import say
from apps.cli.data.split import names, numbers
from apps.text import language
from chains.errors import UsageError
from tuning import splitting
from tuning.lines import canonical

if TYPE_CHECKING:
    from tuning.data.write import Put
    from tuning.from_runs import Made

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}


def from_runs(
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The chat JSONL file; beside it go NAME.preferences.jsonl and NAME.rankings.jsonl."
        ),
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
    """Make training data of recorded runs: demonstrations; preferences, where an answer was corrected or rated against another; and rankings,
    where a vote, best-of-n or a critic chose between several.

    Personal data and secrets are replaced, equal rows come once, and NAME.lineage.jsonl says which runs each row is from.

    Example: chaintune data from-runs --feedback up --since 30d --split 0.9,0.1 --out liked.jsonl
    """
    from tuning import from_runs as source

    shares = numbers("--split", fractions, "0.9,0.1") if fractions else []
    tally = source.Tally()
    with show.progress("from-runs") as advance:
        made = source.collect(feedback, chain, _moment(since, time.time()), not keep_private, tally)
        counts = _save(out, made, lambda rows: advance(rows, 0, str(tally.looked_at)))
    if not counts:
        raise UsageError(
            f"no run with feedback {feedback!r} has an answer to learn from; rate some answers first, or use --feedback any"
        )
    files = [entry for path, rows in counts.items() for entry in _parts(path, rows, shares, seed)]
    facts = {"runs": tally.looked_at, "twice": tally.twice, "redacted": tally.redacted}
    if json:
        show.as_json({"files": files, **facts})
        return
    for file in files:
        show.say(say("from_runs", language(lang), **facts, **file))


def _save(out: Path, made: "Iterable[Made]", advance: Callable[[int], None]) -> dict[Path, int]:
    """Write each kind of row into its file, with the lineage beside it, as they come; return how many went into each. All appear, or none."""
    from tuning.data.write import writing

    counts: dict[Path, int] = {}
    puts: dict[Path, Put] = {}
    with ExitStack() as stack:
        for number, item in enumerate(made):
            path = out if item.kind == "chat" else out.with_name(f"{out.stem}.{item.kind}.jsonl")
            lineage = path.with_name(f"{path.stem}.lineage.jsonl")
            for file, row in ((path, item.row), (lineage, item.lineage)):
                if file not in puts:
                    puts[file] = stack.enter_context(writing(file, container="lines"))
                puts[file]({"raw": canonical(row)})
            counts[path] = counts.get(path, 0) + 1
            advance(number + 1)
    return counts


def _parts(path: Path, rows: int, shares: Sequence[float], seed: int) -> list[dict[str, Any]]:
    """Return the file, and the parts that it is cut into where `shares` are given."""
    files = [{"file": str(path), "rows": rows}]
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
