"""The data formats of tuning: every kind of file and row is read, checked and converted here, and chat and rankings rows are made.

A chat row is {"messages": [{"role", "content", "weight"?}, …]}; a ranking row is {"input": {"messages"}, "outputs": [{"messages", "rank"}, …]}.
`recognise` says what a file is, `check` what is wrong with it, `convert` makes another of it. Every problem is named by file and line, with
what was expected. The formats themselves are in tuning.data.
"""

import csv
import io
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chains.errors import UsageError, nearest
from tuning.data.containers import Rows
from tuning.data.convert import Converted, convert
from tuning.data.findings import Finding, Row
from tuning.data.recognise import SHAPES, recognise
from tuning.data.report import Advance, Asked, Report
from tuning.data.write import writing
from tuning.problems import chat_problems, message_problems, ranking_problems

if TYPE_CHECKING:
    from tuning.data.fix import Change

__all__ = [
    "SHAPES",
    "Asked",
    "Converted",
    "Finding",
    "Report",
    "Row",
    "chat_row",
    "check",
    "convert",
    "fix",
    "from_table",
    "place",
    "prompt_key",
    "ranking_row",
    "read",
    "read_chat",
    "read_prompts",
    "read_rankings",
    "read_table",
    "recognise",
    "split",
    "write",
    "writing",
]


def check(path: str | Path, asked: Asked = Asked(), advance: Advance | None = None) -> Report:  # noqa: B008
    """Return every problem in a data file of any format, by line. Raises UsageError where the file cannot be read at all."""
    from tuning.data import check as validator  # numpy and all rules, which a command's help does not need

    return validator.check(path, asked, advance)


def fix(
    source: str | Path,
    target: str | Path,
    columns: tuple[str, ...] = (),
    tell: Callable[["Change"], None] = lambda change: None,
) -> dict[str, int]:
    """Write `source` with the safe repairs to `target`, tell each change, and return how many there were by rule."""
    from tuning.data import fix as repair  # numpy, as above

    return repair.fix(source, target, columns, tell)


def read(path: str | Path) -> Iterator[tuple[int, Row]]:
    """Yield (line number, row) of a file of rows: JSONL, a JSON array, a table. Raises UsageError at the first line that holds no row."""
    for record in Rows(path):
        findings = [Finding(str(path), record.line, field, rule, values) for rule, field, values in record.problems]
        bad = [finding for finding in findings if finding.level == "error"]
        if bad or record.row is None:
            raise UsageError(str((bad or findings)[0]))
        yield record.line, record.row


def read_chat(path: str | Path) -> list[Row]:
    """Return the rows of a chat JSONL file. Raises UsageError, naming the line, at the first row that cannot be trained on."""
    return _read_valid(path, chat_problems)


def read_rankings(path: str | Path) -> list[Row]:
    """Return the rows of a rankings JSONL file. Raises UsageError, naming the line, at the first row that ranks nothing."""
    return _read_valid(path, ranking_problems)


def read_prompts(path: str | Path) -> list[list[Row]]:
    """Return each row's prompt, the messages before an assistant's last answer, from chat or rankings JSONL.

    Raises UsageError, naming the line, at a row whose prompt is empty.
    """
    prompts = []
    for line, row in read(path):
        conversation = row["input"] if isinstance(row.get("input"), dict) else row
        prefix = "" if conversation is row else "input."
        problems = message_problems(str(path), line, conversation, prefix)
        if problems:
            raise UsageError(str(problems[0]))
        messages = conversation["messages"]
        prompt = messages[:-1] if messages[-1]["role"] == "assistant" else messages
        if not prompt:
            raise UsageError(f"{path}:{line}: the prompt is empty; put a user message before the answer")
        prompts.append(prompt)
    if not prompts:
        raise UsageError(f"{path} holds no rows; expected JSONL with one prompt a line")
    return prompts


def _read_valid(path: str | Path, problems: Callable[[str, int, Row], list[Finding]]) -> list[Row]:
    rows = []
    for line, row in read(path):
        found = [finding for finding in problems(str(path), line, row) if finding.level == "error"]
        if found:
            raise UsageError(str(found[0]))
        rows.append(row)
    if not rows:
        raise UsageError(f"{path} holds no rows; expected JSONL with one example a line")
    return rows


def place(path: str | Path, index: int) -> str:
    """Return `file:line` of row number `index` (from 0); an empty line holds no row."""
    lines = (record.line for record in Rows(path))
    return f"{path}:{next(line for number, line in enumerate(lines) if number == index)}"


def write(path: str | Path, rows: Iterable[Row]) -> int:
    """Write `rows` as JSONL, all or nothing, and return how many there were."""
    count = 0
    with writing(path, container="jsonl") as put:
        for row in rows:
            put(row)
            count += 1
    return count


def chat_row(question: str, answer: str, system: str | None = None) -> Row:
    """Return one question and its answer as a chat row."""
    opening = [{"role": "system", "content": system}] if system else []
    return {"messages": [*opening, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def ranking_row(prompt: Sequence[Row], answers: Sequence[str], ranks: Sequence[int]) -> Row:
    """Return a prompt's K answers and their ranks, 1 the best, as a rankings row."""
    outputs = [
        {"messages": [{"role": "assistant", "content": a}], "rank": r} for a, r in zip(answers, ranks, strict=True)
    ]
    return {"input": {"messages": list(prompt)}, "outputs": outputs}


def from_table(
    path: str | Path, question: str = "question", answer: str = "answer", system: str | None = None
) -> list[Row]:
    """Return a chat row for each row of a CSV or TSV file with a header.

    Raises UsageError where a named column is missing (the near ones named), a cell is empty, or the file is not UTF-8.
    """
    rows = []
    for line, cells in read_table(path, (question, answer)):
        for column in (question, answer):
            if not (cells[column] or "").strip():
                raise UsageError(f"{path}:{line}: column {column!r} is empty; fill it in or remove the row")
        rows.append(chat_row(cells[question].strip(), cells[answer].strip(), system))
    if not rows:
        raise UsageError(f"{path} has a header and no rows; add questions and answers")
    return rows


def read_table(path: str | Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Return (line number, cells by column) of a CSV or TSV file.

    Raises UsageError where one of `columns` is missing, or where a row has more cells than the header.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start}); save the table as UTF-8 and try again") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give the path of an existing table") from error
    separator = "\t" if str(path).endswith(".tsv") else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        rows = [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise UsageError(
            f"{path}:{reader.line_num + 1}: the table cannot be read ({error}); save it as CSV again"
        ) from error
    header = list(reader.fieldnames or [])
    for column in columns:
        if column not in header:
            raise UsageError(
                f"{path}: no column {column!r}; the header has {', '.join(map(repr, header)) or 'nothing'}{nearest(column, header)}"
            )
    for line, cells in rows:
        if any(cells.pop(None, [])):  # what is beyond the header, if anything
            raise UsageError(
                f"{path}:{line}: the row has more cells than the header; put a cell that holds {separator!r} in double quotes"
            )
    return rows


def split(rows: Sequence[Row], fractions: Sequence[float], seed: int = 0) -> list[list[Row]]:
    """Return `rows` shuffled by `seed` and cut into parts of the given fractions; rows with the same prompt stay in one part.

    No part is empty. Raises UsageError unless the fractions are positive and add up to 1, and there is a prompt for each part.
    """
    if not fractions or not min(fractions) > 0 or not abs(sum(fractions) - 1) <= 1e-6:
        raise UsageError(f"fractions {list(fractions)} cannot split the rows; give positive numbers that add up to 1")
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(prompt_key(row), []).append(row)
    if len(groups) < len(fractions):
        raise UsageError(
            f"{len(groups)} different prompts cannot fill {len(fractions)} parts; add rows, or ask for fewer parts"
        )
    keys = list(groups)
    random.Random(seed).shuffle(keys)
    parts: list[list[Row]] = [[] for _ in fractions]
    bounds = [sum(fractions[: i + 1]) * len(rows) for i in range(len(fractions))]
    placed = 0
    for number, key in enumerate(keys):
        part = next((i for i, bound in enumerate(bounds) if placed < bound - 1e-9), len(parts) - 1)
        empty = [i for i, rows_there in enumerate(parts) if not rows_there]
        if len(empty) == len(keys) - number:  # the last prompts fill what would stay empty
            part = empty[0]
        parts[part] += groups[key]
        placed += len(groups[key])
    return parts


def prompt_key(row: Row) -> str:
    """Return a text that is equal for rows with the same prompt; a row of another form is a prompt of its own."""
    try:
        messages = row.get("input", row)["messages"]
        prompt = messages[:-1] if messages[-1]["role"] == "assistant" else messages
        return json.dumps([[m["role"], " ".join(m["content"].split())] for m in prompt], ensure_ascii=False)
    except (KeyError, IndexError, TypeError, AttributeError):
        return json.dumps(row, ensure_ascii=False, sort_keys=True)
