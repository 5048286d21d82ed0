"""A file of one format into a file of another, row by row in bounded memory, and the truth about what was lost on the way.

After every row is written it is read again and turned back: the report counts how many rows come back exactly as they were.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from tuning.data.containers import Options, Rows
from tuning.data.findings import Finding, Row
from tuning.data.item import LOSSES, Item, Losses, Misfit, said
from tuning.data.recognise import RECORDS, Kind, recognise, shape_named
from tuning.data.shapes.shape import Shape
from tuning.data.sound import assert_sound
from tuning.data.tables import nested
from tuning.data.transcript import transcript
from tuning.data.write import target_container, text_cell, writing
from tuning.lines import Advance

TABULAR = ("csv", "tsv", "xlsx", "parquet")


def silent(done: int, total: int) -> None:
    """Show nothing."""


@dataclass
class Converted:
    """What a conversion did: `same` of `rows` rows come back exactly as they were; `losses` says what does not."""

    source: str
    target: str
    found: Kind
    shape: str
    rows: int = 0
    written: int = 0
    same: int = 0
    losses: dict[str, int] = field(default_factory=dict)

    @property
    def lossless(self) -> bool:
        """True where every row comes back exactly as it was."""
        return self.same == self.rows

    def words(self, language: str = "en") -> list[str]:
        """Return the losses as sentences with their counts."""
        return [f"{LOSSES[language][loss]} ({count:,})" for loss, count in self.losses.items()]

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {"file": self.source, "format": self.found.shape.name, "container": self.found.container, "out": self.target,
                "to": self.shape, "rows": self.rows, "written": self.written, "lossless": self.lossless, "same": self.same,
                "losses": self.losses}  # fmt: skip


def convert(
    source: str | Path,
    target: str | Path,
    to: str | None = None,
    *,
    question: str | None = None,
    answer: str | None = None,
    columns: tuple[str, ...] = (),
    advance: Advance = silent,
) -> Converted:
    """Write the rows of `source` to `target` as the format `to` (default: the one they have) and return what was lost.

    `question` and `answer` name a table's columns, `columns` its header where it has none. Raises UsageError, naming file and line, at a row
    that cannot be read or has nothing to be turned into; then `target` is untouched.
    """
    source, target = Path(source), Path(target)
    options = Options(columns)
    found = recognise(source, options, question, answer)
    container = target_container(target)
    shape = _target_shape(found, to, container)
    report = Converted(str(source), str(target), found, shape.name)
    if source.exists() and target.exists() and source.samefile(target):
        raise UsageError(f"{target} is the file that is read; name another one to write")
    header = _header(source, options, found.shape, shape) if container in TABULAR else None
    losses = Losses()
    rows = Rows(source, options)
    with writing(target, header) as put, closing(_converted(rows, found.shape, shape, losses, report)) as made:
        for number, row in enumerate(made):
            put(row)
            if number % 256 == 0:
                advance(rows.done, rows.size)
    advance(rows.size, rows.size)
    report.losses = {loss: count for loss, count in losses.items() if count}
    return report


def _target_shape(found: Kind, to: str | None, container: str) -> Shape:
    if to:
        return shape_named(to)
    if container == "text" and found.shape.name != "text":
        return shape_named("text")
    return found.shape


def _header(source: Path, options: Options, have: Shape, want: Shape) -> list[str]:
    """Return every key of the rows that will be written: a table needs them before its first row."""
    keys: dict[str, None] = {}
    for row in _converted(Rows(source, options), have, want, Losses(), None):
        keys.update(dict.fromkeys(row))
    return list(keys)


def _converted(
    rows: Rows, have: Shape, want: Shape, losses: Losses, report: Converted | None
) -> Generator[Row, None, None]:
    for record in rows:
        bad = [p for p in record.problems if Finding("", 0, "", *_rule(p)).level == "error"]
        if record.row is None or bad:
            rule, place, values = bad[0] if bad else record.problems[0]
            raise UsageError(str(Finding(str(rows.path), record.line, place, rule, values)))
        told = losses.total()
        try:
            made = list(rows_as(record.row, have, want, losses))
        except Misfit as misfit:
            rule, place, values = misfit.problems[0]
            raise UsageError(str(Finding(str(rows.path), record.line, place, rule, values))) from misfit
        if report is not None:
            _note(report, record.row, made, have, want, losses, told)
        yield from made


def _rule(problem: tuple[str, str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return problem[0], problem[2]


def _note(report: Converted, row: Row, made: list[Row], have: Shape, want: Shape, losses: Losses, told: int) -> None:
    report.rows += 1
    report.written += len(made)
    stored = [as_stored(one, target_container(Path(report.target)), losses) for one in made]
    if comes_back(row, stored, have, want):
        report.same += 1
    elif losses.total() == told:  # no writer knows of a loss: then it is one of reading, or of spelling
        losses["input" if have.name == "alpaca" and row.get("input") else "form"] += 1


def as_stored(row: Row, container: str, losses: Losses) -> Row:
    """Return the row as it will be read from a file of this kind: a table's cells are text."""
    if container in TABULAR:
        stored = {name: nested(name, text_cell(row, name)) for name in row}
        losses["cells"] += stored != row
        return stored
    if container == "text" and "\n\n" in str(row["text"]):
        losses["paragraphs"] += 1
        return {}
    return row


def rows_as(row: Row, have: Shape, want: Shape, losses: Losses) -> Iterator[Row]:
    """Yield what `row` of the format `have` is in the format `want`: several rows for a ranking in pairs, none for a bad answer.

    Raises Misfit where the row is not what its format says, UsageError where the one can never become the other.
    """
    if have is want or have is RECORDS:
        if want is not have:
            have.read(row)
        yield row
        return
    read = have.read(row)
    assert_sound(read)
    for item in as_kind(read, want, losses):
        yield want.write(item, losses)


def comes_back(row: Row, made: list[Row], have: Shape, want: Shape) -> bool:
    """True where the one row that was made, turned back, equals `row`."""
    if have is want:
        return made == [row]
    if len(made) != 1:
        return False
    try:
        back = list(rows_as(made[0], want, have, Losses()))
    except (Misfit, UsageError):
        return False
    return len(back) == 1 and back[0] == row


def as_kind(item: Item, want: Shape, losses: Losses) -> Iterable[Item]:
    """Yield the item as what the format `want` holds. Raises UsageError where that would have to be made up."""
    if item.kind == want.kind == "ranked":
        return _pairs(item, losses) if want.pairs else [item]
    if item.kind == want.kind:
        return [item]
    if item.kind == "text" and want.name in ("completion", "trl-prompt-completion"):
        return [replace(item, kind="chat", messages=[{"role": "assistant", "content": item.text}], places=["text"])]
    make = _WAYS.get((item.kind, want.kind))
    if make is None:
        raise UsageError(
            f"{item.kind} rows cannot become {want.name}: that needs what they do not hold; "
            "make it with chaintune data rank, data chat or data from-docs"
        )
    return make(item, losses)


def _pairs(item: Item, losses: Losses) -> list[Item]:
    ordered = sorted(item.outputs, key=lambda output: output.rank or 0)
    if len(ordered) == 2 and ordered[0].rank != ordered[1].rank:
        return [item]
    losses["pairs"] += 1
    return [
        replace(item, outputs=[better, worse])
        for better, worse in combinations(ordered, 2)
        if better.rank != worse.rank
    ]


def _best(item: Item, losses: Losses) -> list[Item]:
    losses["answers"] += 1
    best = min(item.outputs, key=lambda output: output.rank or 0)
    places = [f"{best.place}[{n}]" for n in range(len(best.messages))]
    return [replace(item, kind="chat", messages=item.conversation(best), places=[*item.places, *places], outputs=[])]


def _prompt(item: Item, losses: Losses) -> list[Item]:
    losses["answer"] += 1
    messages = item.messages
    if item.kind == "chat":
        last = max((i for i, m in enumerate(messages) if m.get("role") == "user"), default=-1)
        messages = messages[: last + 1]
    if not messages:
        raise Misfit(("user-missing", "messages", {}))
    return [replace(item, kind="prompt", messages=messages, places=item.places[: len(messages)], outputs=[])]


def _labelled(item: Item, losses: Losses) -> list[Item]:
    losses["ranks"] += 1
    best = min(output.rank or 0 for output in item.outputs)
    return [
        replace(item, kind="labelled", outputs=[replace(output, rank=None, label=output.rank == best, extra={})])
        for output in item.outputs
    ]


def _good(item: Item, losses: Losses) -> list[Item]:
    losses["label"] += 1
    (output,) = item.outputs
    if not output.label:
        return []
    return [
        replace(item, kind="chat", messages=item.conversation(output), places=[*item.places, output.place], outputs=[])
    ]


def _joined(item: Item, losses: Losses) -> list[Item]:
    losses["steps"] += 1
    answer = {"role": "assistant", "content": "\n".join(str(o.messages[0]["content"]) for o in item.outputs)}
    return [
        replace(item, kind="chat", messages=[*item.messages, answer], places=[*item.places, "completions"], outputs=[])
    ]


def _written(item: Item, losses: Losses) -> list[Item]:
    if len(item.messages) == 1 and item.messages[0].get("role") == "assistant":  # open-ended text, which has no turns
        return [replace(item, kind="text", text=said(item.messages[0]), messages=[], places=[])]
    losses["transcript"] += 1
    return [
        replace(item, kind="text", text=transcript(item.messages, losses).removeprefix("\n\n"), messages=[], places=[])
    ]


_WAYS: dict[tuple[str, str], Callable[[Item, Losses], list[Item]]] = {
    ("ranked", "chat"): _best,
    ("ranked", "prompt"): _prompt,
    ("chat", "prompt"): _prompt,
    ("labelled", "prompt"): _prompt,
    ("steps", "prompt"): _prompt,
    ("ranked", "labelled"): _labelled,
    ("labelled", "chat"): _good,
    ("steps", "chat"): _joined,
    ("chat", "text"): _written,
}
