"""`chaintune data`: chat JSONL from a table, checked, and split."""

from pathlib import Path
from typing import Annotated

import typer

from apps.cli import flags, show
from chains.errors import UsageError
from tuning import formats

app = typer.Typer(no_args_is_help=True, help="Make, check and split training data (JSONL).")


@app.command("chat")
def make_chat(
    table: Annotated[Path, typer.Argument(help="A CSV or TSV file with a header, UTF-8.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The chat JSONL file to write.")],
    question_column: Annotated[str, typer.Option("--question-column", help="The column of questions.")] = "question",
    answer_column: Annotated[str, typer.Option("--answer-column", help="The column of answers.")] = "answer",
    system: flags.System = None,
    json: flags.Json = False,
) -> None:
    """Turn a table of questions and answers into chat JSONL.

    Example: chaintune data chat qa.csv --out train.jsonl --question-column 질문 --answer-column 답변
    """
    rows = formats.write(out, formats.from_table(table, question_column, answer_column, system))
    show.as_json({"file": str(out), "rows": rows}) if json else show.say(f"{out}: {rows} rows")


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="A chat or rankings JSONL file.")],
    json: flags.Json = False,
) -> None:
    """Name every problem in a data file by line, and what to do about it. Ends with 1 where there are errors.

    Example: chaintune data check train.jsonl
    """
    report = formats.check(file)
    if json:
        show.as_json(report.as_json())
    else:
        for finding in report.findings:
            show.say(f"{finding.level}: {finding}")
        show.say(
            f"{file}: {report.rows} rows of {report.format}; {'good to train on' if report.good else 'not good yet'}"
        )
    if not report.good:
        raise typer.Exit(1)


@app.command("split")
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
