"""`chaintune data convert`: a file of one format into a file of another, and what was lost."""

from pathlib import Path
from typing import Annotated

import typer

from apps.cli import flags, show
from apps.cli.data.check import Answer, Columns, Question
from apps.cli.data.words import say
from apps.text import language
from tuning import formats


def convert(
    file: Annotated[Path, typer.Argument(help="A data file of any format; what it is, is recognised and said.")],
    out: Annotated[
        Path,
        typer.Argument(
            help="The file to write; its ending says the kind: .jsonl, .json, .csv, .tsv, .xlsx, .parquet, .txt; .gz too."
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help=f"The format of its rows: {', '.join(formats.NAMES)}. Default: the one they have.",
        ),
    ] = None,
    question: Question = None,
    answer: Answer = None,
    columns: Columns = None,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Turn a data file into another format, and say what is lost, if anything is.

    Example: chaintune data convert alpaca.json train.jsonl --to openai-chat
    """
    names = tuple(column.strip() for column in columns.split(",")) if columns else ()
    tongue = language(lang)
    with show.reading(file.name) as advance:
        done = formats.convert(
            file,
            out,
            to,
            question=question,
            answer=answer,
            columns=names,
            advance=advance,
        )
    if json:
        show.as_json({**done.as_json(), "title": done.found.title, "words": done.words(tongue)})
        return
    show.say(
        say(
            "converted",
            tongue,
            file=file,
            rows=done.rows,
            title=done.found.title,
            written=done.written,
            shape=done.shape,
            out=out,
        )
    )
    if done.lossless:
        show.say(say("lossless", tongue))
        return
    show.say(say("lossy", tongue, same=done.same, rows=done.rows))
    for line in done.words(tongue):
        show.say(f"  {line}")
