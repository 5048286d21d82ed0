"""Runs rows packed together: each on its pages, shared beginnings computed once, one forward a step."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from chains.models import blocks, packed
from chains.models.blocks import Piece
from chains.models.kv import Pages, Part, Path, Segment, path_length
from chains.models.memory import ran_out
from chains.models.packed import Step
from chains.models.prefixes import SHORTEST, Prefixes, shared
from chains.models.row import Fill, Row

WORTH = 2048
"""A beginning stays a piece of its own, read by all that share it, where its tokens times its rows are this many; else it is copied."""


class PackedRunner:
    """The pages of the rows in flight and the beginnings kept, for one model and its adapters."""

    def __init__(self, model: Any, prefix_tokens: int) -> None:
        self._model = model
        self._prefix_tokens = prefix_tokens
        self._prefixes: dict[str | None, Prefixes] = {}
        self._store = Pages()
        self._pages: dict[Row, list[int]] = {}

    @property
    def reused(self) -> int:
        """How many prompt tokens were not computed again."""
        return sum(prefixes.reused for prefixes in self._prefixes.values())

    @property
    def kept(self) -> int:
        """How many tokens' keys and values are kept for later."""
        return sum(prefixes.tokens for prefixes in self._prefixes.values())

    def enter(self, row: Row, waiting: Iterable[Row]) -> Fill | None:
        """Let a row in, or return the beginning that it shares with waiting rows and that nobody has read yet."""
        prefixes = self._prefixes_of(row)
        path, length = prefixes.longest(row.ids)
        alike = [
            shared(row.ids[:-1], other.ids[:-1]) for other in waiting if other.request.adapter == row.request.adapter
        ]
        best = _worth_filling(alike, length, prefixes.budget)
        if best > length:
            return Fill(row, path, Segment(best - length))
        prefixes.reused += length
        if path and length * (1 + sum(other >= length for other in alike) + self._users(path)) >= WORTH:
            row.path = path
        self._pages[row] = []
        if path and not row.path:
            self._copy(row, path)
        return None

    def leave(self, row: Row) -> None:
        """Take a row's pages back; where `row.keep` says so and there is memory, its tokens are kept, to begin a later prompt with."""
        pages = self._pages.pop(row)
        try:
            if row.keep and row.finish and row.own:
                own = self._store.kept(pages, row.own)
                self._prefixes_of(row).add(row.known, (*row.path, Part(own, own.length)))
        except Exception as error:
            if not ran_out(error):
                raise
        finally:
            self._store.give(pages)

    def filled(self, fill: Fill) -> None:
        """Keep a beginning that has been read."""
        path = (*fill.path, Part(fill.segment, fill.segment.length))
        self._prefixes_of(fill.row).add(fill.row.ids[: path_length(path)], path)

    def run(
        self, decoding: list[Row], reading: list[tuple[Row | Fill, int]], unwanted: Callable[[], bool]
    ) -> torch.Tensor:
        """Run one forward; see Runner."""
        step = Step(unwanted=unwanted)
        if decoding:
            pages = [self._reserve(row, row.own + 1) for row in decoding]
            step.blocks.append(blocks.decode(self._store, decoding, pages, self._model.device))
        step.ids += [row.tokens[-1] for row in decoding]
        step.positions += [row.read for row in decoding]
        step.wanted += range(len(decoding))
        step.blocks += blocks.read([self._read(step, reader, count) for reader, count in reading], self._model.device)
        first = [*decoding, *(reader for reader, _ in reading)][0]
        return packed.forward(self._model, step, first.request.adapter)

    def forget(self) -> None:
        """Drop every beginning kept."""
        for prefixes in self._prefixes.values():
            prefixes.clear()

    def release(self) -> None:
        """Give back the memory of pages that nobody has."""
        if self._store.unused:
            self._store = Pages()

    def _read(self, step: Step, reader: Row | Fill, count: int) -> Piece:
        """Put the next `count` tokens of a prompt into the step."""
        start, before = len(step.ids), path_length(reader.path) + reader.own
        store, pages = self._place(reader, count)
        step.ids += reader.unread[:count].tolist()
        step.positions += range(before, before + count)
        if isinstance(reader, Row) and count == len(reader.unread):
            step.wanted.append(start + count - 1)
        return Piece(store, pages, reader.path, start, count, reader.own)

    def _place(self, reader: Row | Fill, count: int) -> tuple[Pages, list[int]]:
        if isinstance(reader, Fill):
            return reader.segment.pages, [0]
        return self._store, self._reserve(reader, reader.own + count)

    def _reserve(self, row: Row, tokens: int) -> list[int]:
        """Return the row's pages, with room for so many tokens."""
        pages = self._pages[row]
        pages += self._store.take(max(0, -(-tokens // self._store.grain) - len(pages)))
        return pages

    def _copy(self, row: Row, path: Path) -> None:
        """Begin a row's own tokens with a copy of the path; where there is no memory for it, the row is not in flight."""
        try:
            self._store.fill(self._reserve(row, path_length(path)), path)
        except BaseException:
            self._store.give(self._pages.pop(row))
            raise
        row.own = path_length(path)

    def _users(self, path: Path) -> int:
        return sum(any(part.segment is path[-1].segment for part in row.path) for row in self._pages)

    def _prefixes_of(self, row: Row) -> Prefixes:
        return self._prefixes.setdefault(row.request.adapter, Prefixes(self._prefix_tokens))


def _worth_filling(alike: Sequence[int], known: int, budget: int) -> int:
    """Return how long a beginning to read once: what saves most, from the lengths shared with the rows that wait; `known` where nothing does."""
    best, saved = known, 0
    for place, length in enumerate(sorted(alike, reverse=True), start=1):
        if length - known >= SHORTEST and length <= budget and (length - known) * place > saved:
            best, saved = length, (length - known) * place
    return best
