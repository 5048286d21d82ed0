"""`chaintune data check`: every problem in a data file, by line, and the file in numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli import flags, show
from apps.cli.data.summary import summary_lines
from apps.cli.data.words import say
from apps.text import language
from chains.errors import UsageError
from tuning import formats

if TYPE_CHECKING:
    from tuning.data.fix import Change
    from tuning.data.report import Moderator

Columns = Annotated[
    str | None,
    typer.Option("--columns", help="The names of a table's columns, where it has no header, separated by commas."),
]
Question = Annotated[
    str | None, typer.Option("--question", help="The column of questions. Default: by its usual names.")
]
Answer = Annotated[str | None, typer.Option("--answer", help="The column of answers. Default: by its usual names.")]


def check(
    file: Annotated[
        Path, typer.Argument(help="A data file of any format: JSONL, JSON, CSV, TSV, XLSX, Parquet, text; .gz too.")
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", help="Count tokens as this model does: a name of `models list`, or hf:FOLDER."),
    ] = None,
    context: Annotated[
        int | None, typer.Option("--context", min=1, help="The most tokens in a row. Default: the model's.")
    ] = None,
    validation: Annotated[
        Path | None, typer.Option("--validation", help="A second file that must share no row with this one.")
    ] = None,
    question: Question = None,
    answer: Answer = None,
    columns: Columns = None,
    fix: Annotated[
        Path | None, typer.Option("--fix", help="Write a copy with the safe repairs, and print the diff.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a report with histograms and samples, one file.")
    ] = None,
    moderation: Annotated[
        str | None,
        typer.Option("--moderation", help="Flag rows by this model: any name, or openai:omni-moderation-latest."),
    ] = None,
    price: Annotated[
        float | None, typer.Option("--price", min=0, help="What training on a million tokens costs.")
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option("--epochs", min=0.01, help="How often each row is learned. Default: as OpenAI chooses."),
    ] = None,
    near: Annotated[bool, typer.Option("--near/--no-near", help="Look for rows that are nearly the same.")] = True,
    most: Annotated[
        int, typer.Option("--most", min=0, help="Findings of one rule that are shown; 0 for all. All are counted.")
    ] = 100,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Name every problem in a data file by line, and what to do about it. Ends with 1 where there are errors.

    Example: chaintune data check train.jsonl --model starter --html report.html
    """
    tongue = language(lang)
    for name, path in (("--fix", fix), ("--html", html)):
        if path and path.exists() and path.samefile(file):
            raise UsageError(f"{name} {path} is the file that is checked; name another one")
    if price is not None and not model:
        raise UsageError("--price needs tokens, and they are the model's; add --model")
    names = tuple(column.strip() for column in columns.split(",")) if columns else ()
    asked = formats.Asked(
        model,
        context,
        validation,
        question,
        answer,
        names,
        near,
        most,
        price,
        epochs,
        _rate(),
        _moderator(moderation),
        moderation or "",
    )
    with show.reading(file.name) as advance:
        report = formats.check(file, asked, advance)
    changes = _fix(file, fix, names, json) if fix else {}
    if html:
        from apps.cli.data.page import write_page

        write_page(html, report, tongue, price)
    if json:
        made = {"fixed": {"file": str(fix), "changes": changes}} if fix else {}
        show.as_json({**report.as_json(), **made, **({"html": str(html)} if html else {})})
    else:
        _print(report, tongue, price)
        if fix:
            show.say(say("fixed", tongue, file=fix, count=sum(changes.values())))
        if html:
            show.say(say("html", tongue, file=html))
    if not report.good:
        raise typer.Exit(1)


def _rate() -> float | None:
    from tuning.data import rates

    return rates.measured()


def _moderator(name: str | None) -> "Moderator | None":
    if name is None:
        return None
    from tuning.data.moderation import moderator

    return moderator(name)


def _fix(file: Path, fixed: Path, columns: tuple[str, ...], json: bool) -> dict[str, int]:
    put = show.note if json else show.say
    put(f"--- {file}\n+++ {fixed}")

    def tell(change: "Change") -> None:
        for line in change.lines():
            put(line)

    with show.reading(fixed.name) as advance:
        return formats.fix(file, fixed, columns, tell, advance)


def _print(report: "formats.Report", tongue: str, price: float | None) -> None:
    shown: dict[str, int] = {}
    for finding in report.findings:
        show.say(f"{say(finding.level, tongue)}: {finding.said(tongue)}")
        shown[finding.rule] = shown.get(finding.rule, 0) + 1
    for rule, count in report.counts.items():
        if count > shown[rule]:
            show.say(say("more", tongue, count=count - shown[rule], rule=rule))
    show.say(say("found", tongue, file=report.file, title=report.title, rows=report.rows))
    for line in summary_lines(report, tongue, price):
        show.say(f"  {line}")
    show.say(say("good" if report.good else "bad", tongue))
