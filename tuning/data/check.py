"""The one validator: every row of a file by every rule, in bounded memory, and what the file holds in numbers."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import orjson

from tuning.data import rules_text
from tuning.data.containers import Options, Record, Rows
from tuning.data.counting import Counting
from tuning.data.findings import Finding, Row
from tuning.data.item import Item, said
from tuning.data.ledger import Ledger, key
from tuning.data.near import Near
from tuning.data.parse import Problem
from tuning.data.recognise import RECORDS, Kind, recognise
from tuning.data.report import Advance, Asked, Report
from tuning.data.rules_row import row_problems
from tuning.data.summary import Summary
from tuning.data.tokens import Tokens

LEAST_ROWS, ADVISED_ROWS = 10, 50
UPLOAD = 512 * 10**6


def check(path: str | Path, asked: Asked = Asked(), advance: Advance | None = None) -> Report:  # noqa: B008
    """Return every problem in a data file of any format, by line. Raises UsageError where the file cannot be read at all."""
    kind = recognise(path, Options(asked.columns), asked.question, asked.answer)
    with ExitStack() as stack:
        work = _Work(path, kind, asked, stack)
        rows = Rows(path, Options(asked.columns))
        for number, record in enumerate(rows):
            work.row(record)
            if advance and number % 64 == 0:
                advance(rows.done, rows.size)
        work.together()
        work.whole(rows)
        if advance:
            advance(rows.size, rows.size)
    return work.report()


class _Work:
    """One check under way: what was found, and what must be remembered of every row, on disk."""

    def __init__(self, path: str | Path, kind: Kind, asked: Asked, stack: ExitStack) -> None:
        self.path, self.kind, self.asked = str(path), kind, asked
        self.tokens = Tokens(asked.model, asked.context) if asked.model else None
        self.found: list[Finding] = []
        self.counts: Counter[str] = Counter()
        self.summary = Summary()
        self.counting = Counting(self.tokens, self.summary, self.tell) if self.tokens else None
        self.here = 0  # line and number of the row: in an array several rows may share a line
        self.rows, self.crlf, self.crlf_line, self.flagged = 0, 0, 0, 0
        self.same, self.prompts = stack.enter_context(Ledger()), stack.enter_context(Ledger())
        self.near = stack.enter_context(Near()) if asked.near else None
        self.stack = stack

    def tell(self, line: int, problem: Problem) -> None:
        """Keep a finding, or only count it where there are many of its rule already."""
        rule, place, values = problem
        self.counts[rule] += 1
        if not self.asked.most or self.counts[rule] <= self.asked.most:
            self.found.append(Finding(self.path, line, place, rule, values))

    def row(self, record: Record) -> None:
        """Check one row."""
        self.rows += 1
        self.here = record.line << 32 | self.rows
        if record.crlf:
            self.crlf, self.crlf_line = self.crlf + 1, self.crlf_line or record.line
        for problem in record.problems:
            self.tell(record.line, problem)
        if record.row is None:
            return
        if self.kind.shape is RECORDS:
            if self.rows == 1:
                self.tell(record.line, ("unknown-format", "", {"keys": ", ".join(map(repr, list(record.row)[:8]))}))
            self._remember(record, None, bad=False)
            return
        if "metadata" in record.row and self.kind.shape.strict and not self.counts["metadata"]:
            self.tell(record.line, ("metadata", "metadata", {}))  # once for the file: makers put it into every row
        item, problems = row_problems(record.row, self.kind.shape)
        for problem in problems:
            self.tell(record.line, problem)
        if item is not None:
            self.summary.add(record.line, record.row, item)
            for problem in self._content(record, item):
                self.tell(record.line, problem)
        self._remember(record, item, bad=any(Finding("", 0, "", rule).level == "error" for rule, _, _ in problems))

    def _content(self, record: Record, item: Item) -> Iterator[Problem]:
        texts = _texts(item)
        for place, text in texts:
            yield from rules_text.text_problems(text, place)
        asked = [said(m) for m in item.messages if m["role"] == "user"]
        answers = [said(m) for m in item.messages if m["role"] == "assistant"] or [
            said(m) for o in item.outputs for m in o.messages
        ]
        yield from rules_text.language_mix(asked, answers, texts[-1][0] if texts else "")
        if self.counting:
            self.counting.add(record.line, item, sum(len(text) for _, text in texts))
        if self.asked.moderator and (flags := self.asked.moderator("\n\n".join(text for _, text in texts))):
            self.flagged += 1
            yield "flagged", "", {"model": self.asked.moderator_name, "categories": ", ".join(flags)}

    def _remember(self, record: Record, item: Item | None, bad: bool) -> None:
        """Note the row for the rules that look at all rows together; a broken row is no duplicate of anything."""
        if bad or record.row is None:
            return
        self.same.add(row_key(record.row), 0, self.here)
        if item is None:
            return
        prompt, answer = prompt_and_answer(item)
        if item.kind == "chat" and prompt:
            self.prompts.add(key(prompt), key(answer), self.here)
        if self.near:
            self.near.add(f"{prompt}\n{answer}", self.here)

    def together(self) -> None:
        """Tell what shows only when all rows are known: duplicates, near ones, conflicts, and what the other file holds too."""
        if self.counting:
            self.counting.flush()
        twice: set[int] = set()
        for group in self.same.groups():
            for _, row in group[1:]:
                self.tell(row >> 32, ("duplicate", "", {"first": group[0][1] >> 32}))
                twice.add(row)
        for group in self.prompts.groups():
            first_answer, first = group[0]
            for answer, row in group[1:]:
                if answer != first_answer and row not in twice:
                    self.tell(row >> 32, ("conflict", "", {"first": first >> 32}))
        for row, first, share in self.near.pairs(twice) if self.near else ():
            self.tell(row >> 32, ("near-duplicate", "", {"first": first >> 32, "percent": int(share * 100)}))
        if self.asked.validation:
            self._leaks(self.asked.validation)

    def _leaks(self, other: str | Path) -> None:
        options = Options(self.asked.columns)
        kind = recognise(other, options, self.asked.question, self.asked.answer)
        whole, prompts = self.stack.enter_context(Ledger()), self.stack.enter_context(Ledger())
        for path, shape, side in ((self.path, self.kind.shape, 0), (other, kind.shape, 1)):
            for record in Rows(path, options):
                item = row_problems(record.row, shape)[0] if record.row is not None and shape is not RECORDS else None
                if item is not None:
                    prompt, answer = prompt_and_answer(item)
                    whole.add(key(f"{prompt}\0{answer}"), side, record.line)
                    if prompt:
                        prompts.add(key(prompt), side, record.line)
        told: set[int] = set()
        for rule, ledger in (("leak", whole), ("leak-prompt", prompts)):
            for group in ledger.groups():
                first = next((line for side, line in group if side), None)
                for side, line in group if first is not None else ():
                    if not side and line not in told:
                        told.add(line)
                        self.tell(line, (rule, "", {"other": str(other), "first": first}))

    def whole(self, rows: Rows) -> None:
        """Tell what is about the file: its marks, its size, how few rows it has."""
        if rows.bom:
            self.tell(1, ("bom", "", {}))
        if self.crlf:
            self.tell(self.crlf_line, ("crlf", "", {"count": self.crlf}))
        if rows.size > UPLOAD:
            self.tell(0, ("file-size", "", {"megabytes": rows.size // 10**6}))
        if not self.rows:
            self.tell(0, ("file-empty", "", {}))
        elif self.kind.shape.name != "text" and self.rows < ADVISED_ROWS:
            self.tell(0, ("too-few-rows" if self.rows < LEAST_ROWS else "some-rows", "", {"rows": self.rows}))

    def report(self) -> Report:
        """Return all that was found, by line, what concerns the whole file last."""
        found = sorted(self.found, key=lambda f: (not f.line, f.line))
        limit = self.tokens.limit if self.tokens else None
        summary = self.summary.as_json(limit, self.asked.price, self.asked.epochs, self.asked.rate)
        moderation = "not configured"
        if self.asked.moderator:
            moderation = f"{self.flagged} of {self.rows} rows flagged by {self.asked.moderator_name}"
        return Report(self.path, self.kind.shape.name, self.rows, found, dict(self.counts), self.kind.title, summary, moderation,
                      self.summary)  # fmt: skip


def _texts(item: Item) -> list[tuple[str, str]]:
    """Return each (place, text) of a row."""
    if item.kind == "text":
        return [("text", item.text)]
    found = [(place, said(m)) for place, m in zip(item.places, item.messages, strict=False)]
    return found + [(output.place, said(m)) for output in item.outputs for m in output.messages]


def row_key(row: Row) -> int:
    """Return a key that is equal for rows with the same entries, in whatever order."""
    try:
        return key(orjson.dumps(row, option=orjson.OPT_SORT_KEYS))
    except (TypeError, orjson.JSONEncodeError):
        return key(json.dumps(row, sort_keys=True, default=str))


def prompt_and_answer(item: Item) -> tuple[str, str]:
    """Return what is asked and what is answered as texts; what the system says is neither."""
    if item.kind == "text":
        return "", item.text
    messages = [(m["role"], said(m)) for m in item.messages]
    answers = ["\n".join(said(m) for m in output.messages) for output in item.outputs]
    if item.kind == "chat" and messages and messages[-1][0] == "assistant":
        answers = [messages.pop()[1]]
    asked = [text for role, text in messages if role not in ("system", "developer")]
    system = [text for role, text in messages if role in ("system", "developer")]
    spoken = "\n".join(" ".join(text.split()) for text in asked)
    return (f"{spoken}\0{key(system[0])}" if system and spoken else spoken), "\n".join(answers)
