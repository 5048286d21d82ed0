"""The vectors of the passages, in a Chroma folder of their own or on a Chroma server, with telemetry off.

On a folder Chroma keeps what it read of the folder in memory, does not see what another process wrote since, and would write over it. So the client
is shared by all libraries of this process on that folder, opened again before anything is written (`close` first, under the library's
lock), and opened again for a question when the library's state has moved on under another process's hands.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from chains.errors import MachineError, UsageError

_BATCH = 2000  # below Chroma's limit for one write
_SPACE = {
    "space": "cosine",
    "ef_search": 200,
}  # ef_search: entries looked at for a question; more than are ever asked for


One = Sequence[float] | np.ndarray
Many = Sequence[One] | np.ndarray


class _Client:
    """The one Chroma client of this process for a folder or a server."""

    def __init__(self, place: Path | str) -> None:
        self.place = place
        self.lock = threading.RLock()
        self.chroma: Any = None
        self.states: dict[str, int] = {}  # by library: the state that its vectors were read at

    @property
    def served(self) -> bool:
        return isinstance(self.place, str)

    def open(self) -> Any:
        """Return Chroma, opened if it is not."""
        if self.chroma is None:
            self.chroma = served(self.place) if isinstance(self.place, str) else embedded(self.place)
        return self.chroma


_clients: dict[Path | str, _Client] = {}
_opening = threading.Lock()


class Vectors:
    """The vectors of a collection by passage id, in a folder (a Path) or on a Chroma server (its URL).

    `library` is the collection of passages that this one is beside, of the same library.
    """

    def __init__(self, place: Path | str, collection: str, library: str = "") -> None:
        self.place = place
        self.name = collection
        self._library = (
            library or collection
        )  # whose states count: collections of one library are read at the same ones
        with _opening:
            key = place if isinstance(place, str) else place.resolve()
            self._client = _clients.setdefault(key, _Client(place))

    def beside(self, name: str) -> "Vectors":
        """Return another collection of the same library, for vectors of another model."""
        return Vectors(self.place, f"{self.name}-{name}", self._library)

    @property
    def exists(self) -> bool:
        """Whether anything was ever written here."""
        if isinstance(self.place, Path):
            return (self.place / "chroma.sqlite3").exists()
        with self._using() as chroma:
            return self.name in {collection.name for collection in chroma.list_collections()}

    def add(self, ids: Sequence[int], vectors: Many, about: Sequence[dict[str, Any]]) -> None:
        """Write vectors with their metadata, in place of those with the same ids."""
        with self._collection() as collection:
            for at in range(0, len(ids), _BATCH):
                part = slice(at, at + _BATCH)
                matrix = _unit(vectors[part])
                collection.upsert(ids=[str(id) for id in ids[part]], embeddings=matrix, metadatas=list(about[part]))

    def say(self, ids: Sequence[int], about: Sequence[dict[str, Any]]) -> None:
        """Write metadata beside the vectors that are there already."""
        with self._collection() as collection:
            for at in range(0, len(ids), _BATCH):
                part = slice(at, at + _BATCH)
                collection.update(ids=[str(id) for id in ids[part]], metadatas=list(about[part]))

    def drop(self) -> None:
        """Delete the collection with all its vectors."""
        if self.exists:
            with self._using() as chroma:
                if self.name in {collection.name for collection in chroma.list_collections()}:
                    chroma.delete_collection(self.name)

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
        self, vector: One, n: int, where: dict[str, Any] | None, few: bool, state: int
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
            self._client.states[self._library] = state

    def close(self) -> None:
        """Let go of the folder; the next use opens it again. A server's client has nothing to let go of."""
        if self._client.served:
            return
        with self._client.lock:
            if self._client.chroma is not None:
                self._client.chroma.close()
            self._client.chroma = None
            self._client.states = {}

    @contextmanager
    def _collection(self, state: int | None = None) -> Iterator[Any]:
        """Yield the collection, opened again where it was read at another state than `state` (None: only where it is not open)."""
        with self._client.lock:
            if state is not None and state != self._client.states.get(self._library):
                self.close()
                self.seen(state)
            with self._using() as chroma:
                yield chroma.get_or_create_collection(
                    self.name, configuration={"hnsw": _SPACE}, embedding_function=None
                )

    @contextmanager
    def _using(self) -> Iterator[Any]:
        """Yield Chroma; what it raises becomes a MachineError."""
        import httpx
        from chromadb.errors import ChromaError

        with self._client.lock:
            try:
                yield self._client.open()
            except httpx.TransportError as error:
                raise _unreachable(self.place, error) from error
            except ChromaError as error:
                why = (str(error).strip().splitlines() or [type(error).__name__])[0]
                where = f"in {self.place}" if isinstance(self.place, Path) else f"of {self.place}"
                what = (
                    "delete that folder" if isinstance(self.place, Path) else "look at the server's log, or restart it,"
                )
                raise MachineError(
                    f"the vectors {where} cannot be used ({why}); {what} and sync again, which makes them anew"
                ) from error


def embedded(folder: Path) -> Any:
    """Return Chroma in this process, on a folder."""
    import chromadb
    from chromadb.config import Settings

    return chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))


def served(url: str) -> Any:
    """Return a client of the Chroma server at `url`. Raises UsageError on what is no URL, MachineError where no server answers."""
    import chromadb
    from chromadb.config import Settings

    host, port, tls = address(url)
    try:
        return chromadb.HttpClient(host, port, ssl=tls, settings=Settings(anonymized_telemetry=False))
    except ValueError as error:  # what Chroma makes of a refused connection
        raise _unreachable(url, error) from error


def address(url: str) -> tuple[str, int, bool]:
    """Return the host and port of a Chroma server's URL, and whether it is spoken to by TLS. Raises UsageError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.username:
        raise UsageError(
            f"{url!r} is no address of a Chroma server; give it as http://HOST:PORT, such as http://localhost:8000"
        )
    return parts.hostname, port or (443 if parts.scheme == "https" else 8000), parts.scheme == "https"


def _unreachable(place: Path | str, error: Exception) -> MachineError:
    why = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return MachineError(
        f"the Chroma server at {place} does not answer ({why}); start it with `chroma run`, or give its address"
    )


def _unit(vectors: Many) -> np.ndarray:
    """Return the vectors at length 1, so that a dot product is a cosine."""
    matrix = np.asarray(vectors, dtype=np.float32)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
