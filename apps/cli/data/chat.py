"""`chaintune data chat`: chat JSONL from a table."""

from pathlib import Path
from typing import Annotated

import typer

from apps.cli import flags, show
from tuning import formats


def chat(
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
