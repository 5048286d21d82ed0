"""`chaintune data split`: parts for training and measuring."""

from pathlib import Path
from typing import Annotated

import typer

from apps.cli import flags, show
from apps.cli.data.rows_words import titles
from apps.text import language
from chains.errors import UsageError
from tuning import splitting


def split(
    file: Annotated[Path, typer.Argument(help="A JSONL file, of any size.")],
    fractions: Annotated[
        str, typer.Option("--fractions", help="Shares that add up to 1, separated by commas.")
    ] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option("--seed", help="Of the hash that places the prompts.")] = 0,
    by: Annotated[
        str | None, typer.Option("--by", help="The field whose equal values stay together. Default: the prompt.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the parts. Default: beside the file.")] = None,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Cut a data file into parts for training and measuring; rows with the same prompt stay together.

    Example: chaintune data split data.jsonl --fractions 0.9,0.1
    """
    shares = numbers("--fractions", fractions, "0.9,0.1")
    folder = out or file.parent
    made = {name: folder / f"{file.stem}.{name}.jsonl" for name in names(len(shares))}
    with show.reading(file.name) as advance:
        counts = splitting.split(file, list(made.values()), shares, seed, by, advance)
    if json:
        show.as_json([{"name": n, "file": str(p), "rows": c} for (n, p), c in zip(made.items(), counts, strict=True)])
    else:
        show.table(
            titles("split_titles", language(lang)),
            [(path, count) for path, count in zip(made.values(), counts, strict=True)],
        )


def numbers(flag: str, text: str, example: str) -> list[float]:
    """Return the numbers in `text`. Raises UsageError where they are none."""
    try:
        return [float(share) for share in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{flag} {text!r} are no numbers; write for example {example}") from error


def names(count: int) -> tuple[str, ...]:
    """Return what the parts of a split are called."""
    usual = {2: ("train", "test"), 3: ("train", "validation", "test")}
    return usual.get(count) or tuple(f"part{n}" for n in range(1, count + 1))
