"""`chaintune data chat`: chat JSONL from a table."""

from pathlib import Path
from typing import Annotated

import typer

from apps.cli import flags, show
from apps.cli.data.rows_words import say
from apps.text import language
from tuning import formats
from tuning.conversations import chat_rows


def chat(
    table: Annotated[Path, typer.Argument(help="A CSV, TSV, XLSX or Parquet table with a header; text is UTF-8.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The chat JSONL file to write.")],
    question_column: Annotated[
        str | None,
        typer.Option(
            "--question-column", help="The column of questions. Default: question, 질문 and the like are recognised."
        ),
    ] = None,
    answer_column: Annotated[
        str | None,
        typer.Option(
            "--answer-column", help="The column of answers. Default: answer, 답변 and the like are recognised."
        ),
    ] = None,
    conversation: Annotated[
        str | None,
        typer.Option(
            "--conversation", help="The column that is equal for the turns of one conversation, in their order."
        ),
    ] = None,
    system: flags.System = None,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Turn a table of questions and answers into chat JSONL.

    Example: chaintune data chat qa.csv --out train.jsonl --system "Answer politely." --conversation 대화
    """
    rows = formats.write(out, chat_rows(table, question_column, answer_column, system, conversation))
    show.as_json({"file": str(out), "rows": rows}) if json else show.say(
        say("rows", language(lang), file=out, rows=rows)
    )
