"""What a maker has so far, kept beside the file that it makes: one line a step, on the disk before the next step begins.

    with Journal(Path("train.jsonl"), {"maker": "rank", "seed": 0}) as journal:
        for event in journal.events: ...      # what an earlier run had done
        journal.add({"kept": row})            # there after kill -9
        journal.finish(rows)                  # train.jsonl appears whole, and the journal goes

A line that a kill cut short was not done, and is taken off. The first line says with what settings the work was begun.
"""

import fcntl
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from chains.errors import MachineError, UsageError
from chains.home import machine_error, write_file

Event = dict[str, Any]


def beside(out: Path) -> Path:
    """Return where the journal of `out` is."""
    return out.with_name(out.name + ".part")


class Journal:
    """The steps done towards `out`. Raises UsageError where `out` is there already, or was begun with other settings."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.out = out
        self.path = beside(out)
        begun = self.path.exists()
        if out.exists() and not begun:
            raise UsageError(f"{out} is there already; give another --out, or move it away")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
        except OSError as error:
            raise machine_error(error, self.path) from error
        try:
            self._lock()
            self.events = self._read(dict(settings))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, event: Event) -> Event:
        """Write one step down and return it; it then outlives a crash."""
        self._write(event)
        self.events.append(event)
        return event

    def publish(self, rows: Iterable[Event]) -> int:
        """Write `rows` to `out`, all or nothing, keep the journal, and return how many there were."""
        lines = [orjson.dumps(row) + b"\n" for row in rows]
        write_file(self.out, b"".join(lines))
        return len(lines)

    def finish(self, rows: Iterable[Event]) -> int:
        """Write `rows` to `out`, all or nothing, remove the journal, and return how many there were."""
        count = self.publish(rows)
        self.path.unlink(missing_ok=True)
        return count

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise MachineError(f"{self.out} is being made by another process; wait for it, or stop it") from error

    def _read(self, settings: Event) -> list[Event]:
        """Return the steps of an earlier run; a file without any begins with `settings`."""
        self._file.seek(0)
        raw = self._file.read()
        whole = raw[: raw.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        try:
            lines = [orjson.loads(line) for line in whole.splitlines()]
        except orjson.JSONDecodeError as error:
            raise UsageError(f"{self.path} is no journal of this tool ({error.msg}); move it away") from error
        if not lines:
            self._write(settings)
            return []
        if lines[0] != orjson.loads(orjson.dumps(settings)):
            raise UsageError(
                f"{self.path} was begun {_difference(lines[0], settings)}; go on with the same, or remove it"
            )
        return lines[1:]

    def _write(self, event: Event) -> None:
        try:
            self._file.write(orjson.dumps(event) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise machine_error(error, self.path) from error


def _difference(begun: Any, now: Event) -> str:
    """Say which setting is another one now."""
    if not isinstance(begun, dict):
        return "by something else"
    for name in {**begun, **now}:
        if begun.get(name) != now.get(name):
            return f"with {name} {begun.get(name)!r}, not {now.get(name)!r}"
    return "in another way"
