"""A table of questions and answers as chat rows: a row each, or a row for each conversation, whose turns are the table's rows in their order."""

from collections.abc import Sequence
from pathlib import Path

from chains.errors import UsageError, nearest
from tuning.formats import read
from tuning.lines import Row

QUESTIONS = ("question", "질문", "prompt", "instruction", "user", "문의", "q")
ANSWERS = ("answer", "답변", "completion", "output", "response", "assistant", "응답", "답", "정답", "a")


def chat_rows(
    table: str | Path,
    question: str | None = None,
    answer: str | None = None,
    system: str | None = None,
    conversation: str | None = None,
) -> list[Row]:
    """Return the chat rows of a CSV, TSV, XLSX or Parquet table with a header. Columns that are not named are recognised, in English or Korean.

    `conversation` names the column that is equal for the turns of one conversation. Raises UsageError where a column is missing or cannot be
    recognised, or a cell is empty.
    """
    cells = [(line, {name: str(cell or "") for name, cell in row.items()}) for line, row in read(table)]
    if not cells:
        raise UsageError(f"{table} holds no rows; give a header, and questions and answers under it")
    header = list(cells[0][1])
    for column in filter(None, (question, answer, conversation)):
        if column not in header:
            raise UsageError(
                f"{table}: no column {column!r}; the header has {', '.join(map(repr, header))}{nearest(column, header)}"
            )
    ask = question or _recognised(table, header, QUESTIONS, "questions", "--question-column")
    reply = answer or _recognised(table, header, ANSWERS, "answers", "--answer-column")
    opening = [{"role": "system", "content": system}] if system else []
    turns: dict[str, list[Row]] = {}
    for line, row in cells:
        for column in filter(None, (ask, reply, conversation)):
            if not row.get(column, "").strip():
                raise UsageError(f"{table}:{line}: column {column!r} is empty; fill it in or remove the row")
        key = row[conversation].strip() if conversation else str(line)
        turns.setdefault(key, list(opening)).extend(
            [{"role": "user", "content": row[ask].strip()}, {"role": "assistant", "content": row[reply].strip()}]
        )
    return [{"messages": messages} for messages in turns.values()]


def _recognised(table: str | Path, header: Sequence[str], known: Sequence[str], what: str, flag: str) -> str:
    plain = {name.strip().lower(): name for name in reversed(header)}
    for name in known:
        if name in plain:
            return plain[name]
    have = ", ".join(map(repr, header))
    raise UsageError(
        f"{table}: which column holds the {what} is not clear; the header has {have}; name it with {flag}{nearest(known[0], header)}"
    )
