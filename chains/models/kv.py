"""Where a model's keys and values are kept while it generates.

A row in flight has pages, taken as it grows from a store that all rows share, and given back when it leaves; so memory follows the tokens
there are, and no row is ever moved. A prefix that several rows share, or that a later request may share, is a segment of its own: one long page.
Every layer's tensors are made when its first keys come, so layers may differ in heads and widths. In a page a key's first numbers lie side
by side, then all its second ones, so that a compiled loop has the scores of many tokens at once. Shapes: P pages, KH key heads, g tokens
of a page, D and Dv the widths of a key and a value.
"""

import contextlib
import math
import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

GRAIN = 32
"""Tokens of a row's page: a multiple of what the compiled attention takes at once."""
GROWTH = 8
"""A store that is full grows by an eighth, or by what is asked for."""
ROOM = 16
"""So many times the first pages of a store have a place in main memory, which takes memory page by page: growing copies nothing."""


_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


class Segment:
    """The keys and values of `length` tokens in a row, which nothing changes once they are written."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.pages = Pages(length, room=1)
        self.pages.take(1)


@dataclass(frozen=True)
class Part:
    """The first `length` tokens of a segment, as a piece of a row's context."""

    segment: Segment
    length: int

    def layer(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return its (KH, length, D) keys and (KH, length, Dv) values."""
        keys, values = self.segment.pages.layers[layer]
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
    whole.pages.fill([0], path)
    return (Part(whole, whole.length),)


class Pages:
    """A store of pages of `grain` tokens each."""

    def __init__(self, grain: int = GRAIN, room: int = ROOM) -> None:
        self.grain, self._room = grain, room
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._count = 0
        self._free: list[int] = []

    def take(self, count: int) -> list[int]:
        """Return so many pages that nobody has, all zero: what is never written must not be NaN."""
        if (missing := count - len(self._free)) > 0:
            self._grow(max(missing, self._count // GROWTH))
        taken = self._free[:count]
        del self._free[:count]
        return taken

    def give(self, pages: Sequence[int]) -> None:
        """Take pages back."""
        for pair in self.layers.values():
            for part in pair:
                part[list(pages)] = 0
        self._free = sorted([*self._free, *pages])

    @property
    def unused(self) -> bool:
        """Whether nobody has a page."""
        return len(self._free) == self._count

    def _grow(self, more: int) -> None:
        count = self._count + more
        for layer, (keys, values) in self.layers.items():
            self.layers[layer] = (_grown(keys.mT, count, self._room).mT, _grown(values, count, self._room))
        self._free += range(self._count, count)  # last: where memory ran out, nobody has a page that is not there
        self._count = count

    def layer(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a layer's keys (P, KH, g, D) and values (P, KH, g, Dv), P at least the store's pages.

        `keys` and `values` (KH, n, D or Dv) say their kind.
        """
        if layer not in self.layers:
            heads, _, width = keys.shape
            self.layers[layer] = (
                _blank(keys, self._count, (heads, width, self.grain), self._room).mT,
                _blank(values, self._count, (heads, self.grain, values.shape[2]), self._room),
            )
        return self.layers[layer]

    def fill(self, pages: Sequence[int], path: Path) -> None:
        """Copy a path to the beginning of these pages, which have room for it."""
        for layer in path[0].segment.pages.layers if path else ():
            at = 0
            for part in path:
                keys, values = part.layer(layer)
                for whole, source in zip(self.layer(layer, keys, values), (keys, values), strict=True):
                    places = torch.arange(at, at + part.length, device=source.device)
                    table = torch.tensor(pages, device=source.device)
                    whole[table[places // self.grain], :, places % self.grain] = source.transpose(0, 1)
                at += part.length

    def kept(self, pages: Sequence[int], used: int) -> Segment:
        """Return a copy of the first `used` tokens of these pages."""
        segment = Segment(used)
        for layer, pair in self.layers.items():
            copied = [part[list(pages)].transpose(0, 1).flatten(1, 2)[None, :, :used].clone() for part in pair]
            segment.pages.layers[layer] = (copied[0], copied[1])
        return segment


def _grown(old: torch.Tensor, count: int, room: int) -> torch.Tensor:
    """Return the pages with room for `count`; they have it already where it was there from the start, or growing failed half-way."""
    if len(old) >= count:
        return old
    new = _blank(old, count, tuple(old.shape[1:]), room)
    new[: len(old)] = old
    return new


def _blank(like: torch.Tensor, count: int, shape: tuple[int, ...], room: int) -> torch.Tensor:
    """Return at least `count` pages of `shape`, all zero, of the kind of `like`.

    Main memory that may grow comes from the system itself: a page of it takes memory when it is first written, and the system has all of
    it back the moment that the store is let go, of which the allocator would keep the holes.
    """
    if like.device.type != "cpu" or room == 1 or not count:
        return like.new_zeros(count, *shape)
    for pages in (count * room, count):  # where the system does not give more than there is
        with contextlib.suppress(OSError, ValueError):
            memory = mmap.mmap(-1, pages * math.prod(shape) * like.element_size(), **_PRIVATE)
            return torch.frombuffer(memory, dtype=like.dtype).view(pages, *shape)
    raise MemoryError(f"no memory for {count} pages of keys and values")


def distinct(paths: Iterable[Path]) -> int:
    """Return how many tokens the segments of `paths` hold, each counted once."""
    return sum({id(part.segment): part.segment.length for path in paths for part in path}.values())
