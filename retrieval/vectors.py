"""The vectors of the passages, in a Chroma folder of their own (PersistentClient, telemetry off).

Chroma keeps what it read of the folder in memory, does not see what another process wrote since, and would write over it. So the client
is shared by all libraries of this process on that folder, opened again before anything is written (`close` first, under the library's
lock), and opened again for a question when the library's state has moved on under another process's hands.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from chains.errors import MachineError

_BATCH = 2000  # below Chroma's limit for one write
_SPACE = {
    "space": "cosine",
    "ef_search": 200,
}  # ef_search: entries looked at for a question; more than are ever asked for


class _Client:
    """The one Chroma client of this process for a folder."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.chroma: Any = None
        self.states: dict[str, int] = {}  # by collection: the library's state that its vectors were read at


_clients: dict[Path, _Client] = {}
_opening = threading.Lock()


class Vectors:
    """The vectors of a collection by passage id."""

    def __init__(self, folder: Path, collection: str) -> None:
        self._folder = folder
        self._name = collection
        with _opening:
            self._client = _clients.setdefault(folder.resolve(), _Client())

    @property
    def exists(self) -> bool:
        """Whether anything was ever written here."""
        return (self._folder / "chroma.sqlite3").exists()

    def add(self, ids: Sequence[int], vectors: Sequence[Sequence[float]], about: Sequence[dict[str, Any]]) -> None:
        """Write vectors with their metadata, in place of those with the same ids."""
        with self._collection() as collection:
            for at in range(0, len(ids), _BATCH):
                part = slice(at, at + _BATCH)
                matrix = _unit(vectors[part])
                collection.upsert(ids=[str(id) for id in ids[part]], embeddings=matrix, metadatas=list(about[part]))

    def delete(self, ids: Sequence[int]) -> None:
        """Take vectors out; one that is not there is passed over."""
        with self._collection() as collection:
            for at in range(0, len(ids), _BATCH):
                collection.delete(ids=[str(id) for id in ids[at : at + _BATCH]])

    def ids(self) -> set[int]:
        """Return the ids of all vectors."""
        with self._collection() as collection:
            return {int(id) for id in collection.get(include=[])["ids"]}

    def nearest(
        self, vector: Sequence[float], n: int, where: dict[str, Any] | None, few: bool, state: int
    ) -> list[tuple[int, float]]:
        """Return at most `n` ids with the cosine of their vectors, nearest first, as of the library's `state`.

        `few` says that `where` leaves so few that all of them can be compared: Chroma's own search among few of many, by walking a graph
        of all, was seen to come back with nothing.
        """
        (query,) = _unit([vector])
        with self._collection(state) as collection:
            if few:
                found = collection.get(where=where, include=["embeddings"])
                cosines = np.asarray(found["embeddings"], dtype=np.float32).reshape(-1, len(query)) @ query
                best = np.argsort(-cosines, kind="stable")[:n]
                return [(int(found["ids"][i]), float(cosines[i])) for i in best]
            found = collection.query(query_embeddings=query[None], n_results=n, where=where, include=["distances"])
        return [(int(id), 1 - distance) for id, distance in zip(found["ids"][0], found["distances"][0], strict=True)]

    def seen(self, state: int) -> None:
        """Note that what the client has in memory is the library's `state`, since this process wrote it."""
        with self._client.lock:
            self._client.states[self._name] = state

    def close(self) -> None:
        """Let go of the folder; the next use opens it again."""
        with self._client.lock:
            if self._client.chroma is not None:
                self._client.chroma.close()
            self._client.chroma = None
            self._client.states = {}

    @contextmanager
    def _collection(self, state: int | None = None) -> Iterator[Any]:
        """Yield the collection, opened again where it was read at another state than `state` (None: only where it is not open)."""
        import chromadb
        from chromadb.config import Settings
        from chromadb.errors import ChromaError

        with self._client.lock:
            try:
                if state is not None and state != self._client.states.get(self._name):
                    self.close()
                    self.seen(state)
                if self._client.chroma is None:
                    self._client.chroma = chromadb.PersistentClient(
                        str(self._folder), settings=Settings(anonymized_telemetry=False)
                    )
                yield self._client.chroma.get_or_create_collection(
                    self._name, configuration={"hnsw": _SPACE}, embedding_function=None
                )
            except ChromaError as error:
                why = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise MachineError(
                    f"the vectors in {self._folder} cannot be used ({why}); delete that folder and sync again, which makes them anew"
                ) from error


def _unit(vectors: Sequence[Sequence[float]]) -> np.ndarray:
    """Return the vectors at length 1, so that a dot product is a cosine."""
    matrix = np.asarray(vectors, dtype=np.float32)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
