"""Where a model's keys and values are kept while it generates.

A row in flight has a slot; the slots of one capacity lie side by side, so that one product serves all rows that decode. A prefix that
several rows share, or that a later request may share, is a segment of its own. Every layer's tensors are made when its first keys come, so
layers may differ in heads and widths. Shapes: S slots, KH key heads, C capacity, n tokens, D and Dv the widths of a key and a value.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch

CAPACITIES = tuple(128 * 4**power for power in range(8))
"""Rows that may come to about as many tokens are kept together: those up to 128, those up to 512, ..."""
GRAIN = 64
"""Slots grow by so many tokens at a time, and hold hardly more than the longest of their rows: a product reads them whole and unmoved."""


class Place(Protocol):
    """Somewhere a sequence's keys and values are written in order."""

    def put(
        self, layer: int, at: int, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]: ...


class Segment:
    """The keys and values of `length` tokens in a row, which nothing changes once they are written."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def put(self, layer: int, at: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Write (KH, n, D) keys and (KH, n, Dv) values from token `at` on; return all that are there so far."""
        if layer not in self.layers:
            self.layers[layer] = tuple(
                part.new_zeros(part.shape[0], self.length, part.shape[2]) for part in (keys, values)
            )  # type: ignore[assignment]
        return _put(self.layers[layer], at, keys, values)


@dataclass(frozen=True)
class Part:
    """The first `length` tokens of a segment, as a piece of a row's context."""

    segment: Segment
    length: int

    def layer(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return its (KH, length, D) keys and (KH, length, Dv) values."""
        keys, values = self.segment.layers[layer]
        return keys[:, : self.length], values[:, : self.length]


Path = tuple[Part, ...]
"""The beginning of a row's context, piece after piece."""


def path_length(path: Path) -> int:
    """Return how many tokens a path holds."""
    return sum(part.length for part in path)


def cut(path: Path, length: int) -> Path:
    """Return the first `length` tokens of a path."""
    parts: list[Part] = []
    for part in path:
        if length <= 0:
            break
        parts.append(Part(part.segment, min(part.length, length)))
        length -= part.length
    return tuple(parts)


def joined(path: Path) -> Path:
    """Return a path as one piece, copied."""
    whole = Segment(path_length(path))
    for layer in path[0].segment.layers:
        at = 0
        for part in path:
            whole.put(layer, at, *part.layer(layer))
            at += part.length
    return (Part(whole, whole.length),)


class Slots:
    """Slots side by side, each with room for `capacity` tokens; both grow as they must."""

    def __init__(self) -> None:
        self.size = self.capacity = 0
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def ensure(self, slots: int, tokens: int) -> None:
        """Make room for `slots` slots of `tokens` tokens; what they hold stays."""
        if slots <= self.size and tokens <= self.capacity:
            return
        self.size = max(self.size, min(2 * self.size, slots + GRAIN), slots)
        self.capacity = max(self.capacity, -(-tokens // GRAIN) * GRAIN)
        for layer, pair in self.layers.items():
            self.layers[layer] = (self._grown(pair[0]), self._grown(pair[1]))

    def _grown(self, old: torch.Tensor) -> torch.Tensor:
        new = old.new_zeros(self.size, old.shape[1], self.capacity, old.shape[3])
        new[: old.shape[0], :, : old.shape[2]] = old
        return new

    def layer(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a layer's keys (S, KH, C, D) and values (S, KH, C, Dv); `keys` and `values` (KH, n, D or Dv) say their kind."""
        if layer not in self.layers:
            self.layers[layer] = tuple(  # type: ignore[assignment]
                part.new_zeros(self.size, part.shape[0], self.capacity, part.shape[2]) for part in (keys, values)
            )
        return self.layers[layer]

    def move(self, source: int, target: int, used: int) -> None:
        """Copy the first `used` tokens of one slot over another's."""
        for pair in self.layers.values():
            for part in pair:
                part[target, :, :used] = part[source, :, :used]

    def swap(self, one: int, other: int, used: int) -> None:
        """Exchange the first `used` tokens of two slots."""
        for pair in self.layers.values():
            for part in pair:
                kept = part[one, :, :used].clone()
                part[one, :, :used] = part[other, :, :used]
                part[other, :, :used] = kept

    def fill(self, slot: int, path: Path) -> None:
        """Copy a path to the beginning of a slot."""
        for layer in path[0].segment.layers if path else ():
            at = 0
            for part in path:
                self.put(slot, layer, at, *part.layer(layer))
                at += part.length

    def put(
        self, slot: int, layer: int, at: int, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write (KH, n, D) keys and (KH, n, Dv) values into a slot from token `at` on; return all that it holds so far."""
        whole_keys, whole_values = self.layer(layer, keys, values)
        return _put((whole_keys[slot], whole_values[slot]), at, keys, values)

    def kept(self, slot: int, used: int) -> Segment:
        """Return a copy of a slot's first `used` tokens."""
        segment = Segment(used)
        for layer, (keys, values) in self.layers.items():
            segment.put(layer, 0, keys[slot, :, :used], values[slot, :, :used])
        return segment


@dataclass(frozen=True)
class Slot:
    """One slot as a place to write to."""

    slots: Slots
    index: int

    def put(self, layer: int, at: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Write keys and values from token `at` on; return all that the slot holds so far."""
        return self.slots.put(self.index, layer, at, keys, values)


def capacity_for(tokens: int) -> int:
    """Return the smallest capacity that holds `tokens`."""
    return next((capacity for capacity in CAPACITIES if capacity >= tokens), tokens)


def distinct(paths: Iterable[Path]) -> int:
    """Return how many tokens the segments of `paths` hold, each counted once."""
    return sum({id(part.segment): part.segment.length for path in paths for part in path}.values())


def _put(
    whole: tuple[torch.Tensor, torch.Tensor], at: int, keys: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    end = at + keys.shape[1]
    whole[0][:, at:end], whole[1][:, at:end] = keys, values
    return whole[0][:, :end], whole[1][:, :end]
