"""Which rows a step serves: continuous batching in a fixed order, so that what comes out never depends on timing.

Rows enter in the order they were asked, as soon as there is room for them, and leave when they have finished. Every step
gives each decoding row its next token and reads a bounded piece of the prompts, so a long prompt does not stop the others. Where several
waiting rows begin alike, the beginning is read once. One thread runs a scheduler; `Engine` is what others call.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from chains.errors import ChaintuneError, MachineError, ModelError
from chains.models.memory import ran_out
from chains.models.row import Completion, Fill, GivenUp, Row
from chains.models.sampling import Chosen, choose

Reader = Row | Fill


class Runner(Protocol):
    """How rows are run: packed together, or one by one where the model allows no better."""

    @property
    def reused(self) -> int:
        """How many prompt tokens were not computed again."""

    @property
    def kept(self) -> int:
        """How many tokens' keys and values are kept for later prompts."""

    def enter(self, row: Row, waiting: Iterable[Row]) -> Fill | None:
        """Give a row its place, or return the beginning that must be read before it can enter."""

    def leave(self, row: Row) -> None:
        """Take a row's place away; what it holds is kept for later requests where `row.keep` says so."""

    def filled(self, fill: Fill) -> None:
        """Keep a beginning that has been read."""

    def run(self, decoding: list[Row], reading: list[tuple[Reader, int]], unwanted: Callable[[], bool]) -> torch.Tensor:
        """Run one forward: a token for each decoding row, so many prompt tokens for each reader.

        Return the logits (R, V) of the decoding rows and then of the rows whose prompt is now read, in the order given. All of one adapter. Raises GivenUp where
        `unwanted` says, while it runs, that nobody waits for it: nothing has been read then.
        """

    def forget(self) -> None:
        """Drop every beginning kept: the weights have changed."""

    def release(self) -> None:
        """Give back memory that no row needs."""


@dataclass
class Counts:
    """What has been done so far."""

    requests: int = 0
    tokens: int = 0
    steps: int = 0


class Scheduler:
    """The rows that wait, read and decode. At most `max_batch` are in flight, holding at most `max_tokens` tokens."""

    def __init__(self, runner: Runner, max_batch: int, max_tokens: int, chunk: int) -> None:
        self.runner = runner
        self.max_batch = max_batch
        self.max_tokens = max_tokens
        self.chunk = chunk
        self.waiting: deque[Row] = deque()
        self.reading: list[Reader] = []
        self.decoding: list[Row] = []
        self.counts = Counts()

    @property
    def busy(self) -> bool:
        """Whether any row waits or is in flight."""
        return bool(self.waiting or self.reading or self.decoding)

    def step(self) -> None:
        """Serve every decoding row one token, and read on."""
        self._drop_cancelled()
        self._admit()
        for adapter in self._adapters():
            decoding = [row for row in self.decoding if row.request.adapter == adapter]
            self._forward(decoding, self._portions(adapter, len(decoding)))
        self.counts.steps += 1

    def rows(self) -> list[Row]:
        """Return every row that waits or is in flight."""
        return [*self.waiting, *self.decoding, *(reader for reader in self.reading if isinstance(reader, Row))]

    def stop(self, error: BaseException) -> None:
        """End every row with the error."""
        for row in self.rows():
            row.keep = False
            if row in self.waiting:
                self.waiting.remove(row)
                row.future.set_exception(error)
            else:
                self._end(row, error)
        self.reading.clear()

    def _adapters(self) -> list[str | None]:
        rows = [row.request.adapter for row in self.decoding]
        return list(dict.fromkeys([*rows, *(reader.request.adapter for reader in self.reading)]))

    def _portions(self, adapter: str | None, decoding: int) -> list[tuple[Reader, int]]:
        """Return how many tokens each reader reads now: first come, first served, within the chunk."""
        room = max(self.chunk - decoding, self.chunk // 4) if decoding else 4 * self.chunk  # nobody waits for a token
        portions: list[tuple[Reader, int]] = []
        for reader in self.reading:
            count = min(room, len(reader.unread))
            if count and reader.request.adapter == adapter:
                portions.append((reader, count))
                room -= count
        return portions

    def _admit(self) -> None:
        while self.waiting and not any(isinstance(reader, Fill) for reader in self.reading):
            row = self.waiting[0]
            flying = [*self.decoding, *(reader for reader in self.reading if isinstance(reader, Row))]
            if len(flying) >= self.max_batch or sum(other.need for other in [*flying, row]) > self.max_tokens:
                return
            try:
                fill = self.runner.enter(row, list(self.waiting)[1 : self.max_batch])
            except Exception as error:
                self.waiting.popleft()
                _fail(row, error)
                continue
            if fill is not None:
                self.reading.append(fill)
                return
            self.reading.append(self.waiting.popleft())

    def _forward(self, decoding: list[Row], portions: list[tuple[Reader, int]]) -> None:
        """Run one forward; where it fails, run its rows one by one, so that only those that fail alone end with the error."""
        if not decoding and not portions:
            return
        try:
            logits = self.runner.run(decoding, portions, self._deserted)
        except GivenUp:
            return
        except Exception as error:
            if len(decoding) + len(portions) == 1:
                self._failed([*decoding, *(reader for reader, _ in portions)][0], error)
                return
            for row in decoding:
                self._forward([row], [])
            for portion in portions:
                self._forward([], [portion])
            return
        self._advance(decoding, portions, logits)

    def _advance(self, decoding: list[Row], portions: list[tuple[Reader, int]], logits: torch.Tensor) -> None:
        for row in decoding:
            row.own += 1
        read: list[Row] = []
        for reader, count in portions:
            reader.own += count
            if len(reader.unread):
                continue
            if isinstance(reader, Fill):
                self._filled(reader)
            else:
                self.reading.remove(reader)
                read.append(reader)
        self.decoding += read
        rows = [*decoding, *read]
        if not rows:
            return
        for row, chosen in zip(rows, self._chosen(logits, rows), strict=True):
            if isinstance(chosen, Exception):
                self._failed(row, chosen)
            else:
                self._take(row, chosen)

    def _filled(self, fill: Fill) -> None:
        try:
            self.runner.filled(fill)
        except Exception as error:
            self._failed(fill, error)
            return
        self.reading.remove(fill)

    def _chosen(self, logits: torch.Tensor, rows: list[Row]) -> Sequence[Chosen | Exception]:
        """Return each row's next token, or what is wrong; what goes wrong for all ends these rows, and those that still read go on."""
        try:
            return choose(logits, [row.draw for row in rows])
        except Exception as error:
            return [error] * len(rows)

    def _take(self, row: Row, chosen: Chosen) -> None:
        try:
            row.take(chosen)
            self.counts.tokens += 1
            if row.finish is None:
                return
            done = row.completion()
        except Exception as error:
            self._failed(row, error)
            return
        self.counts.requests += 1
        self._end(row, done)

    def _end(self, row: Row, outcome: Completion | BaseException) -> None:
        """Take a row out of flight and tell whoever waits for it, whatever happens meanwhile."""
        for rows in (self.decoding, self.reading):
            if row in rows:
                rows.remove(row)
        try:
            self.runner.leave(row)
        except Exception as error:
            outcome = outcome if isinstance(outcome, BaseException) else _explained(error)
        if isinstance(outcome, BaseException):
            row.future.set_exception(outcome)
        else:
            row.future.set_result(outcome)

    def _failed(self, reader: Reader, error: Exception) -> None:
        if isinstance(reader, Fill):  # the row that it was read for fails with it
            self.reading.remove(reader)
            if reader.row in self.waiting:
                self.waiting.remove(reader.row)
            _fail(reader.row, error)
        else:
            reader.keep = False
            self._end(reader, _explained(error))

    def _deserted(self) -> bool:
        """Whether whoever asked for anything has gone."""
        return all(row.cancelled for row in self.rows())

    def _drop_cancelled(self) -> None:
        for row in [row for row in self.rows() if row.cancelled]:
            if row in self.waiting:
                self.waiting.remove(row)
                row.future.set_exception(CancelledError())
            else:
                self._end(row, CancelledError())
        for fill in [reader for reader in self.reading if isinstance(reader, Fill) and reader.row.cancelled]:
            heirs = [row for row in self.waiting if fill.serves(row)]
            if heirs:
                fill.row = heirs[0]
            else:
                self.reading.remove(fill)


def _fail(row: Row, error: Exception) -> None:
    row.future.set_exception(_explained(error))


def _explained(error: Exception) -> Exception:
    """Return the error as one of ours: what the model's code or the machine could not do."""
    if isinstance(error, ChaintuneError):
        return error
    said = str(error).strip().splitlines() or [type(error).__name__]
    if ran_out(error):
        found: Any = MachineError(
            f"there is not enough memory for this request ({said[0]}); shorten the prompt, ask for fewer tokens or run fewer at once"
        )
    else:
        found = ModelError(f"the model's own code failed: {type(error).__name__}: {said[0]}")
    found.__cause__ = error
    return found
