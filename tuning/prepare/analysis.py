"""The checks in the old tool's order, and the changes that they offer.

Every check looks at the table after the necessary changes alone; the offered ones are made afterwards, in the same order, so a later
change meets what an earlier one left. Where that made the old tool crash, a sentence says so here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from tuning.prepare import affixes
from tuning.prepare.columns import FIELDS, examples_of
from tuning.prepare.examples import CLASSIFICATION, OPEN_ENDED, Example, task_type
from tuning.prepare.note import Note
from tuning.prepare.table import read

FEW = 100
LONG = 10_000
Change = Callable[[list[Example]], list[Example]]


@dataclass(frozen=True)
class Offer:
    """A change that a person may take or leave."""

    note: Note
    change: Change


@dataclass(frozen=True)
class Analysis:
    """What was seen, what is necessary (and done in `examples`), and what is offered."""

    path: Path
    examples: list[Example]
    seen: list[Note]
    necessary: list[Note]
    offers: list[Offer]

    def apply(self, answer: Callable[[Offer], bool]) -> tuple[list[Example], bool]:
        """Return the examples with the offers that `answer` takes, and whether anything was changed, the necessary included."""
        examples, changed = self.examples, bool(self.necessary)
        for offer in self.offers:
            if answer(offer):
                examples, changed = offer.change(examples), True
        return examples, changed


def analyse(path: str | Path, separator: str | None = None, stop: str | None = None) -> Analysis:
    """Return what the table in `path` needs. `separator` and `stop` stand in place of those that would be chosen.

    Raises UsageError where the file cannot be read, a column is missing, or all prompts (or completions) are the same.
    """
    file = Path(path)
    table = read(file)
    seen = [*table.notes, Note("few_rows" if len(table.rows) < FEW else "rows", {"count": len(table.rows)})]
    necessary = [Note("convert", {"format": table.kind})] if table.kind else []
    examples, columns_seen, columns_necessary = examples_of(table, file)
    seen += columns_seen
    if task_type(examples) == CLASSIFICATION:
        seen.append(Note("classification"))
    offers: list[Offer] = []
    for notes, offer in _findings(examples, file, separator, stop):
        seen += notes
        offers += [offer] if offer else []
    return Analysis(file, examples, seen, [*necessary, *columns_necessary], offers)


Found = tuple[list[Note], Offer | None]


def _findings(examples: list[Example], path: Path, separator: str | None, stop: str | None) -> list[Found]:
    return [
        _duplicates(examples),
        _long(examples, path),
        *(_upper_case(examples, field) for field in FIELDS),
        _affix(affixes.prompt_suffix(examples, path, separator)),
        _affix(affixes.prompt_prefix(examples)),
        _affix(affixes.completion_prefix(examples)),
        _affix(affixes.completion_suffix(examples, path, stop)),
        _affix(affixes.leading_space(examples, path)),
    ]


def _affix(found: tuple[list[Note], Note | None, Change]) -> Found:
    notes, offered, change = found
    return notes, Offer(offered, change) if offered else None


def _duplicates(examples: Sequence[Example]) -> Found:
    kept = {(e.prompt, e.completion): e for e in reversed(examples)}
    firsts = {id(e) for e in kept.values()}
    again = [place for place, example in enumerate(examples) if id(example) not in firsts]
    if not again:
        return [], None
    return [Note("duplicates", {"rows": again})], Offer(
        Note("drop_duplicates", {"count": len(again)}), lambda now: [e for e in now if id(e) in firsts]
    )


def _long(examples: Sequence[Example], path: Path) -> Found:
    if task_type(examples) == OPEN_ENDED or not (places := _long_places(examples)):
        return [], None

    def drop(now: list[Example]) -> list[Example]:
        """Leave out the rows whose label is the place of a long row: what the old tool did, right where no row was removed before."""
        rows = _long_places(now)
        missing = [row for row in rows if row not in {e.label for e in now}]
        if missing:
            raise UsageError(
                f"{path}: the long rows {rows} cannot be removed once other rows were: the old tool stopped here; "
                "remove the rows that are empty or double from the file first, or answer n to this question"
            )
        return [example for example in now if example.label not in rows]

    return [Note("long_rows", {"rows": places})], Offer(Note("drop_long", {"count": len(places)}), drop)


def _long_places(examples: Sequence[Example]) -> list[int]:
    return [place for place, e in enumerate(examples) if len(e.prompt) + len(e.completion) > LONG]


def _upper_case(examples: Sequence[Example], field: str) -> Found:
    texts = [getattr(example, field) for example in examples]
    upper = sum(letter.isupper() for text in texts for letter in text if letter.isalpha())
    lower = sum(letter.islower() for text in texts for letter in text if letter.isalpha())
    if upper * 2 <= lower:
        return [], None

    def lower_case(now: list[Example]) -> list[Example]:
        changed: list[dict[str, Any]] = [{field: getattr(example, field).lower()} for example in now]
        return [replace(example, **change) for example, change in zip(now, changed, strict=True)]

    return [Note("upper_case", {"column": field})], Offer(Note("lower_case", {"column": field}), lower_case)
