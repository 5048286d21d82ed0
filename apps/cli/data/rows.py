"""`chaintune data dedupe | mix | sample | stats | head`: JSONL files of any size, read row by row."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from apps.cli import flags, show
from apps.cli.data.rows_words import say, titles
from apps.cli.data.split import numbers
from apps.text import language
from tuning import deduping, mixing, sampling
from tuning import stats as figures

File = Annotated[Path, typer.Argument(help="A JSONL file, of any size.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The JSONL file to write.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same rows.")]


def dedupe(
    file: File,
    out: Out,
    near: Annotated[
        float | None,
        typer.Option(
            "--near",
            help="Also leave out rows that share this much of their text with an earlier one, 0.5 to 1. Example: 0.8",
        ),
    ] = None,
    on: Annotated[str, typer.Option("--on", help="What is compared: row or prompt.")] = "row",
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Leave out rows that an earlier row equals, and with --near those that one nearly equals.

    Example: chaintune data dedupe data.jsonl --out clean.jsonl --near 0.8
    """
    with show.reading(file.name) as advance:
        done = deduping.dedupe(file, out, near, on, advance)
    if json:
        show.as_json({"file": str(out), **asdict(done)})
        return
    tongue = language(lang)
    show.say(say("deduped", tongue, file=out, rows=done.rows, exact=done.exact, near=done.near))
    for line, other, share in done.pairs:
        show.say(say("pair", tongue, line=line, other=other, share=share))


def mix(
    files: Annotated[list[Path], typer.Argument(help="The JSONL files to mix.")],
    out: Out,
    weights: Annotated[
        str | None,
        typer.Option("--weights", help="A number for each file, separated by commas. Default: all the same."),
    ] = None,
    exhausted: Annotated[
        str,
        typer.Option(
            "--exhausted",
            help="When a file has no rows left: stop, drop (go on with the others) or repeat (begin it again).",
        ),
    ] = "stop",
    most: Annotated[int | None, typer.Option("--n", min=1, help="At most this many rows.")] = None,
    seed: Seed = 0,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Mix files by weights: the shares hold in every beginning of the mix, and each file's rows come in a seeded order.

    Example: chaintune data mix ours.jsonl general.jsonl --weights 0.7,0.3 --out mixed.jsonl
    """
    shares = numbers("--weights", weights, "0.7,0.3") if weights else [1.0] * len(files)
    with show.reading(out.name) as advance:
        counts = mixing.mix(files, shares, out, seed, exhausted, most, advance)
    if json:
        show.as_json(
            {
                "file": str(out),
                "rows": sum(counts),
                "sources": [{"file": str(f), "rows": c} for f, c in zip(files, counts, strict=True)],
            }
        )
        return
    tongue = language(lang)
    for file, count in zip(files, counts, strict=True):
        show.say(say("mixed", tongue, file=file, rows=count, share=count / sum(counts)))
    show.say(say("rows", tongue, file=out, rows=sum(counts)))


def sample(
    file: File,
    out: Out,
    count: Annotated[int, typer.Option("--n", min=1, help="How many rows.")],
    seed: Seed = 0,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Take rows by chance, every row with the same, and keep their order.

    Example: chaintune data sample data.jsonl --n 100 --out some.jsonl
    """
    with show.reading(file.name) as advance:
        rows = sampling.sample(file, out, count, seed, advance)
    if json:
        show.as_json({"file": str(out), "rows": count, "of": rows})
    else:
        show.say(say("sampled", language(lang), out=out, count=count, rows=rows))


def stats(file: File, lang: flags.Language = None, json: flags.Json = False) -> None:
    """Show a data file's figures: rows, forms, who says how much, lengths, repetitions.

    Example: chaintune data stats data.jsonl
    """
    with show.reading(file.name) as advance:
        found = figures.stats(file, advance)
    if json:
        show.as_json({"file": str(file), **asdict(found)})
        return
    tongue = language(lang)
    show.say(say("stats", tongue, file=file, **asdict(found)))
    show.say(
        say("lengths", tongue, percentiles=", ".join(f"{name} {value:,}" for name, value in found.percentiles.items()))
    )
    show.table(titles("keys_titles", tongue), list(found.keys.items()))
    show.table(
        titles("roles_titles", tongue),
        [(role, count, found.characters[role]) for role, count in found.messages.items()],
    )


def head(
    file: File,
    count: Annotated[int, typer.Option("--n", "-n", min=1, help="How many rows.")] = 3,
    json: flags.Json = False,
) -> None:
    """Show the first rows of a data file, indented.

    Example: chaintune data head data.jsonl --n 2
    """
    from json import dumps

    found = sampling.head(file, count)
    if json:
        show.as_json(found)
        return
    for row in found:
        show.say(dumps(row, ensure_ascii=False, indent=2))
