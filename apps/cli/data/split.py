"""`chaintune data split`: parts for training and measuring."""

from pathlib import Path
from typing import Annotated

import typer

from apps.cli import flags, show
from chains.errors import UsageError
from tuning import formats


def split(
    file: Annotated[Path, typer.Argument(help="A JSONL file.")],
    fractions: Annotated[
        str, typer.Option("--fractions", help="Shares that add up to 1, separated by commas.")
    ] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option("--seed", help="Of the shuffle.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the parts. Default: beside the file.")] = None,
    json: flags.Json = False,
) -> None:
    """Cut a data file into parts for training and measuring; rows with the same prompt stay together.

    Example: chaintune data split data.jsonl --fractions 0.9,0.1
    """
    try:
        shares = [float(share) for share in fractions.split(",")]
    except ValueError as error:
        raise UsageError(f"--fractions {fractions!r} are no numbers; write for example 0.9,0.1") from error
    rows = [row for _, row in formats.read(file)]
    parts = formats.split(rows, shares, seed)
    folder = out or file.parent
    made = {name: folder / f"{file.stem}.{name}.jsonl" for name in _names(len(shares))}
    counts = [formats.write(path, part) for path, part in zip(made.values(), parts, strict=True)]
    if json:
        show.as_json([{"name": n, "file": str(p), "rows": c} for (n, p), c in zip(made.items(), counts, strict=True)])
    else:
        show.table(["FILE", "ROWS"], [(path, count) for path, count in zip(made.values(), counts, strict=True)])


def _names(count: int) -> tuple[str, ...]:
    usual = {2: ("train", "test"), 3: ("train", "validation", "test")}
    return usual.get(count) or tuple(f"part{n}" for n in range(1, count + 1))
