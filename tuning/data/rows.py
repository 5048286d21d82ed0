"""Rows that are trained on, read and checked at once; and rows made of texts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from chains.errors import UsageError
from tuning.data.containers import Rows
from tuning.data.findings import Finding, Row
from tuning.data.write import writing
from tuning.problems import chat_problems, message_problems, ranking_problems


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
