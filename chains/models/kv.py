"""Where a model's keys and values are kept while it generates.

A row in flight has a slot; the slots of one capacity lie side by side, so that one product serves all rows that decode. A prefix that
several rows share, or that a later request may share, is a segment of its own. Every layer's tensors are made when its first keys come, so
layers may differ in heads and widths. Shapes: S slots, KH key heads, C capacity, n tokens, D and Dv the widths of a key and a value.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

CAPACITIES = tuple(128 * 4**power for power in range(8))
"""Rows that may come to about as many tokens are kept together: those up to 128, those up to 512, ..."""
GRAIN = 64
"""Slots grow by so many tokens at a time, and hold hardly more than the longest of their rows: a product reads them whole and unmoved."""


class Segment:
    """The keys and values of `length` tokens in a row, which nothing changes once they are written."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.slots = Slots(1, length)


@dataclass(frozen=True)
class Part:
    """The first `length` tokens of a segment, as a piece of a row's context."""

    segment: Segment
    length: int

    def layer(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return its (KH, length, D) keys and (KH, length, Dv) values."""
        keys, values = self.segment.slots.layers[layer]
        return keys[0, :, : self.length], values[0, :, : self.length]


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
    whole.slots.fill(0, path)
    return (Part(whole, whole.length),)


class Slots:
    """Slots side by side, each with room for `capacity` tokens; both grow as they must."""

    def __init__(self, size: int = 0, capacity: int = 0) -> None:
        self.size = size
        self.capacity = capacity
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def ensure(self, slots: int, tokens: int) -> None:
        """Make room for `slots` slots of `tokens` tokens; what they hold stays."""
        if slots <= self.size and tokens <= self.capacity:
            return
        if slots > self.size:
            self.size = max(slots, 2 * self.size)
        elif slots < self.size // 2:  # many have left: what moves anyway moves into less room
            self.size = slots
        self.capacity = max(self.capacity, -(-tokens // GRAIN) * GRAIN)
        for layer, pair in self.layers.items():
            self.layers[layer] = (self._grown(pair[0]), self._grown(pair[1]))

    def _grown(self, old: torch.Tensor) -> torch.Tensor:
        new = old.new_zeros(self.size, old.shape[1], self.capacity, old.shape[3])
        common = min(self.size, old.shape[0])
        new[:common, :, : old.shape[2]] = old[:common]
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
        """Copy a path to the beginning of a slot, which has room for it."""
        for layer in path[0].segment.slots.layers if path else ():
            at = 0
            for part in path:
                keys, values = part.layer(layer)
                whole = self.layer(layer, keys, values)
                for target, source in zip(whole, (keys, values), strict=True):
                    target[slot, :, at : at + part.length] = source
                at += part.length

    def kept(self, slot: int, used: int) -> Segment:
        """Return a copy of a slot's first `used` tokens."""
        segment = Segment(used)
        for layer, (keys, values) in self.layers.items():
            segment.slots.layers[layer] = (
                keys[slot : slot + 1, :, :used].clone(),
                values[slot : slot + 1, :, :used].clone(),
            )
        return segment


def capacity_for(tokens: int) -> int:
    """Return the smallest capacity that holds `tokens`."""
    return next((capacity for capacity in CAPACITIES if capacity >= tokens), tokens)


def distinct(paths: Iterable[Path]) -> int:
    """Return how many tokens the segments of `paths` hold, each counted once."""
    return sum({id(part.segment): part.segment.length for path in paths for part in path}.values())
