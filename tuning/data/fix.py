"""The safe repairs of a file, into a new one: the byte order mark, CR LF, control characters and rows that are there twice.

Nothing that needs a judgement is touched: a line that is no JSON stays as it is, a wrong role stays wrong.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from chains.errors import UsageError
from tuning.data.check import row_key
from tuning.data.containers import Options, Record, Rows
from tuning.data.findings import Finding, Row
from tuning.data.ledger import Ledger
from tuning.data.rules_text import HIDDEN
from tuning.data.write import target_container, writing


@dataclass(frozen=True)
class Change:
    """What was done to one line: `rule` says why; `after` is None where the row was removed."""

    line: int
    rule: str
    before: str
    after: str | None

    def lines(self) -> Iterator[str]:
        """Yield the change as a diff shows it."""
        yield f"@@ {self.line} {self.rule} @@"
        yield f"-{self.before}"
        if self.after is not None:
            yield f"+{self.after}"


def fix(
    source: str | Path,
    target: str | Path,
    columns: tuple[str, ...] = (),
    tell: Callable[[Change], None] = lambda change: None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, int]:
    """Write `source` with the safe repairs to `target`, tell each change, and return how many there were by rule.

    The file is read twice, for the rows that stand earlier too and for the copy; `advance` hears the bytes of both.
    Raises UsageError where `target` is `source`, or is of another kind.
    """
    source, target = Path(source), Path(target)
    if target.exists() and source.exists() and source.samefile(target):
        raise UsageError(f"{target} is the file that is checked; name another one for the repaired rows")
    options = Options(columns)
    rows = Rows(source, options)
    if rows.container != target_container(target):
        raise UsageError(
            f"{target} is of another kind than {source}; give it the same ending, or convert it afterwards"
        )
    twice = _twice(rows, lambda done: advance(done, 2 * rows.size))
    counts: dict[str, int] = {}

    def note(change: Change) -> None:
        counts[change.rule] = counts.get(change.rule, 0) + 1
        tell(change)

    ahead = _counted(rows, lambda done: advance(rows.size + done, 2 * rows.size))
    with closing(_repaired(ahead, twice, note)) as made:
        if rows.container == "jsonl":
            _write_lines(target, made)
        else:
            _write_rows(target, made, source)
    if rows.bom:
        note(Change(1, "bom", "U+FEFF", None))
    return counts


def _counted(rows: Rows, advance: Callable[[int], None]) -> Iterator[Record]:
    """Yield the records, telling after every 64th how many bytes lie behind."""
    for number, record in enumerate(rows):
        yield record
        if number % 64 == 0:
            advance(rows.done)
    advance(rows.size)


def _twice(rows: Rows, advance: Callable[[int], None]) -> set[int]:
    """Return the numbers (from 0) of the records whose row stands earlier too."""
    found: set[int] = set()
    with Ledger() as ledger:
        for number, record in enumerate(_counted(rows, advance)):
            if record.row is not None:
                ledger.add(row_key(record.row), 0, number)
        for group in ledger.groups():
            found.update(number for _, number in group[1:])
    return found


def _repaired(
    rows: Iterator[Record], twice: set[int], note: Callable[[Change], None]
) -> Generator[tuple[Record, Row | None, bool], None, None]:
    """Yield each record that stays, its row, and whether the row was changed."""
    for number, record in enumerate(rows):
        if number in twice:
            note(Change(record.line, "duplicate", _shown(record.row), None))
            continue
        if record.crlf:
            note(Change(record.line, "crlf", "…\\r\\n", "…\\n"))
        cleaned = clean(record.row) if record.row is not None else None
        changed = cleaned != record.row
        if changed:
            note(Change(record.line, "control-character", _shown(record.row), _shown(cleaned)))
        yield record, cleaned, changed


def clean(value: Any) -> Any:
    """Return `value` with every text freed of NUL and control characters; line ends and tabs stay."""
    match value:
        case str():
            return HIDDEN.sub("", value)
        case list():
            return [clean(inner) for inner in value]
        case dict():
            return {key: clean(inner) for key, inner in value.items()}
        case _:
            return value


def _shown(row: Row | None) -> str:
    return orjson.dumps(row).decode() if row is not None else ""


def _write_lines(target: Path, made: Iterator[tuple[Record, Row | None, bool]]) -> None:
    """Write JSONL: a row that was not changed keeps its bytes."""
    with writing(target, container="lines") as put:
        for record, row, changed in made:
            if record.row is None and not record.raw:
                raise UsageError(str(Finding(str(target), record.line, *_place(record))))
            put({"raw": orjson.dumps(row) if changed else record.raw.rstrip(b"\r\n")})


def _place(record: Record) -> tuple[str, str, dict[str, Any]]:
    rule, field, values = record.problems[0]
    return field, rule, values


def _write_rows(target: Path, made: Iterator[tuple[Record, Row | None, bool]], source: Path) -> None:
    with writing(target) as put:
        for record, row, _ in made:
            if row is None:
                raise UsageError(str(Finding(str(source), record.line, *_place(record))))
            put(row)
