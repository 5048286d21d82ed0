"""Passages embedded by a Ray cluster: shards of them go to workers on many machines, and each writes its vectors into the Chroma server.

    for ids in embed(rows, embeddings, vectors, workers=8): ...   # the ids of passages that have their vectors now

The cluster is the one that RAY_ADDRESS names, or this machine; its machines need chaintune, the embedding model, and the way to the server.
Only texts, numbers and the embedding model travel. A worker that dies is Ray's to replace; what it had not finished is embedded again.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from chains.errors import MachineError, UsageError
from retrieval.prepare import embedded_text
from retrieval.store import Row
from retrieval.vectors import Vectors

_SHARD = 1024  # passages that travel together, fewer where every worker can have some of them so
_BATCH = 128  # passages that are embedded and written together


class _Embedder:
    """A worker: the model, loaded once, and the way to the server."""

    def __init__(self, embeddings: Any, place: str, collection: str) -> None:
        self._embeddings = embeddings
        self._vectors = Vectors(place, collection)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        try:
            self._write(batch)
            why = ""
        except Exception as error:  # the model's or the server's, to be said in one sentence where the sync runs
            why = f"{type(error).__name__}: {error}".strip()
        return {"id": batch["id"], "why": [why] * len(batch["id"])}

    def _write(self, batch: dict[str, Any]) -> None:
        texts = [str(text) for text in batch["text"]]
        once = list(dict.fromkeys(texts))
        vectors = dict(zip(once, self._embeddings.embed_documents(once), strict=True))
        about = [json.loads(str(more)) for more in batch["about"]]
        self._vectors.add([int(id) for id in batch["id"]], [vectors[text] for text in texts], about)


def check(workers: int, server: str | None) -> None:
    """Raise UsageError where that many workers, 0 for none, cannot embed into the Chroma server at that URL."""
    if workers < 0:
        raise UsageError(f"ray is {workers}; give the number of Ray workers that embed, or 0 for none")
    if workers and server is None:
        raise UsageError(
            "Ray's workers write into a Chroma server, and the library's vectors lie in its folder; name one (chroma=, --chroma)"
        )
    if not workers:
        return
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise UsageError('Ray is not installed; install it with: pip install "chaintune[ray]"') from error


def embed(
    rows: Iterable[tuple[Row, dict[str, Any]]], embeddings: Any, vectors: Vectors, workers: int
) -> Iterator[list[int]]:
    """Embed the rows into the server of `vectors`, each with what is said of it, and yield the ids as they are done.

    Raises MachineError where the cluster or a worker fails.
    """
    several = list(rows)
    if not several:
        return
    shards = list(_shards(iter(several), min(_SHARD, -(-len(several) // workers))))
    import ray
    from ray.exceptions import RayError

    try:
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        told = (embeddings, str(vectors.place), vectors.name)
        pool = ray.data.ActorPoolStrategy(size=workers)
        done = ray.data.from_arrow(shards).map_batches(
            _Embedder, fn_constructor_args=told, compute=pool, batch_size=_BATCH
        )
        for batch in done.iter_batches(batch_size=None):
            if why := next(filter(None, batch["why"]), ""):
                raise _failed(why)
            yield [int(id) for id in batch["id"]]
    except (RayError, ConnectionError) as error:
        raise _failed(str(error)) from error


def _failed(why: str) -> MachineError:
    first = (why.strip().splitlines() or ["it says no more"])[0]
    return MachineError(f"embedding on Ray failed ({first}); sync again, which goes on where it stopped")


def _shards(rows: Iterator[tuple[Row, dict[str, Any]]], size: int) -> Iterator[Any]:
    """Yield tables of passages."""
    import pyarrow

    while part := list(islice(rows, size)):
        texts = [embedded_text(row.text, row.heading, row.header) for row, _ in part]
        about = [json.dumps(more) for _, more in part]
        yield pyarrow.table({"id": [row.id for row, _ in part], "text": texts, "about": about})
