"""`chaintune data check`: every problem in a data file, by line."""

from pathlib import Path
from typing import Annotated

import typer

from apps.cli import flags, show
from tuning import formats


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
