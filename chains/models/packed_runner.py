"""Runs rows packed together: each in a slot, shared beginnings computed once, one forward a step."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from chains.models import packed
from chains.models.bank import Bank, Piece, blocks
from chains.models.kv import Part, Path, Segment, Slots, capacity_for, path_length
from chains.models.packed import Step
from chains.models.prefixes import SHORTEST, Prefixes, shared
from chains.models.row import Fill, Row

WORTH = 2048
"""A beginning stays a piece of its own, read by all that share it, where its tokens times its rows are this many; else it is copied."""


class PackedRunner:
    """The banks of rows and the beginnings kept, for one model and its adapters."""

    def __init__(self, model: Any, prefix_tokens: int) -> None:
        self._model = model
        self._prefix_tokens = prefix_tokens
        self._prefixes: dict[str | None, Prefixes] = {}
        self._banks: dict[tuple[str | None, int], Bank] = {}
        self._bank_of: dict[int, Bank] = {}

    @property
    def reused(self) -> int:
        """How many prompt tokens were not computed again."""
        return sum(prefixes.reused for prefixes in self._prefixes.values())

    @property
    def kept(self) -> int:
        """How many tokens' keys and values are kept for later."""
        return sum(prefixes.tokens for prefixes in self._prefixes.values())

    def enter(self, row: Row, waiting: Iterable[Row]) -> Fill | None:
        """Give a row its slot, or return the beginning that it shares with waiting rows and that nobody has read yet."""
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
        bank = self._enter_bank(row)
        if path and not row.path:
            bank.reserve(length)
            bank.slots.fill(bank.rows.index(row), path)
            row.own = length
        return None

    def ready(self, row: Row) -> None:
        """Let a row decode: its prompt is read."""
        self._bank_of[id(row)].ready(row)

    def leave(self, row: Row) -> None:
        """Free a row's slot; where `row.keep` says so its tokens are kept, to begin a later prompt with."""
        bank = self._bank_of.pop(id(row))
        if row.keep and row.finish and row.own:
            own = bank.slots.kept(bank.rows.index(row), row.own)
            self._prefixes_of(row).add(row.known, (*row.path, Part(own, own.length)))
        bank.remove(row)

    def filled(self, fill: Fill) -> None:
        """Keep a beginning that has been read."""
        path = (*fill.path, Part(fill.segment, fill.segment.length))
        self._prefixes_of(fill.row).add(fill.row.ids[: path_length(path)], path)

    def run(self, decoding: list[Row], reading: list[tuple[Row | Fill, int]]) -> torch.Tensor:
        """Run one forward; see Runner."""
        step, order = Step(), []
        for bank, first, count in self._runs(decoding):
            rows = bank.rows[first : first + count]
            step.blocks.append(bank.decode(first, count, len(step.ids), self._model.device))
            step.ids += [row.tokens[-1] for row in rows]
            step.positions += [row.read for row in rows]
            order += rows
        place = {id(row): place for place, row in enumerate(order)}
        step.wanted = [place[id(row)] for row in decoding]
        pieces = [self._read(step, reader, count) for reader, count in reading]
        step.blocks += blocks(pieces, self._model.device)
        return packed.forward(self._model, step, [*decoding, *(reader for reader, _ in reading)][0].request.adapter)

    def forget(self) -> None:
        """Drop every beginning kept."""
        for prefixes in self._prefixes.values():
            prefixes.clear()

    def release(self) -> None:
        """Give back the memory of slots that nobody has."""
        self._banks = {key: bank for key, bank in self._banks.items() if bank.rows}

    def _read(self, step: Step, reader: Row | Fill, count: int) -> Piece:
        """Put the next `count` tokens of a prompt into the step."""
        start, before = len(step.ids), path_length(reader.path) + reader.own
        slots, slot = self._place(reader, count)
        step.ids += reader.unread[:count].tolist()
        step.positions += range(before, before + count)
        if isinstance(reader, Row) and count == len(reader.unread):
            step.wanted.append(start + count - 1)
        return Piece(slots, slot, reader.path, start, count, reader.own)

    def _place(self, reader: Row | Fill, count: int) -> tuple[Slots, int]:
        if isinstance(reader, Fill):
            return reader.segment.slots, 0
        bank = self._bank_of[id(reader)]
        bank.reserve(reader.own + count)
        return bank.slots, bank.rows.index(reader)

    def _runs(self, decoding: list[Row]) -> Iterator[tuple[Bank, int, int]]:
        """Yield the banks of the decoding rows, with the first of the rows and how many: one row alone, or all that decode."""
        if len(decoding) == 1:
            bank = self._bank_of[id(decoding[0])]
            yield bank, bank.rows.index(decoding[0]), 1
        elif decoding:
            for (adapter, _), bank in sorted(self._banks.items(), key=lambda item: item[0][1]):
                if bank.decoding and adapter == decoding[0].request.adapter:
                    yield bank, 0, bank.decoding

    def _users(self, path: Path) -> int:
        return sum(
            any(part.segment is path[-1].segment for part in row.path)
            for bank in self._banks.values()
            for row in bank.rows
        )

    def _enter_bank(self, row: Row) -> Bank:
        key = (row.request.adapter, capacity_for(row.need - path_length(row.path)))
        bank = self._banks.setdefault(key, Bank())
        bank.add(row)
        self._bank_of[id(row)] = bank
        return bank

    def _prefixes_of(self, row: Row) -> Prefixes:
        return self._prefixes.setdefault(row.request.adapter, Prefixes(self._prefix_tokens))


def _worth_filling(alike: Sequence[int], known: int, budget: int) -> int:
    """Return how long a beginning to read once: what saves most, from the lengths shared with the rows that wait; `known` where nothing does."""
    best, saved = known, 0
    for place, length in enumerate(sorted(alike, reverse=True), start=1):
        if length - known >= SHORTEST and length <= budget and (length - known) * place > saved:
            best, saved = length, (length - known) * place
    return best
