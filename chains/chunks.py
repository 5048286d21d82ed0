"""What a chain's stream yields: dicts that add up to what invoke returns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessageChunk

from chains.plan import Finished


class Chunk(dict[str, Any]):
    """A part of a chain's dict. In a sum texts are joined, and of other values (each a fuller one than the last) the last is kept."""

    def __add__(self, other: Mapping[str, Any]) -> "Chunk":
        total = Chunk(self)
        for key, value in other.items():
            had = total.get(key)
            joins = (isinstance(had, str) and isinstance(value, str)) or isinstance(had, BaseMessageChunk)
            total[key] = had + value if joins else value
        return total


class Chunks:
    """Turns the pieces of a shown call, and the results at the end, into chunks: the inputs come with the first."""

    def __init__(
        self, inputs: Mapping[str, Any], output_keys: Sequence[str], read: Callable[[Any], dict[str, Any]]
    ) -> None:
        self._first = {key: value for key, value in inputs.items() if key not in output_keys}
        self._left = list(output_keys)
        self._read = read
        self.results: list[Any] = []

    def of(self, piece: Any) -> Iterator[Chunk]:
        """Yield the chunk that `piece` makes, if any. Raises the failure that ended the chain."""
        if isinstance(piece, Finished):
            self.results = piece.results
            if isinstance(self.results[0], Exception):
                raise self.results[0]
            made = {key: self.results[0][key] for key in self._left}
        else:
            made = self._read(piece)
        self._left = [key for key in self._left if key not in made]
        if made or self._first:
            chunk, self._first = Chunk({**self._first, **made}), {}
            yield chunk
