"""Who reads and embeds the documents of a sync: this process, or several others beside it. The one writer stays here.

with crew(embeddings, Limits(), workers=4) as hands:
    for file, prepared in hands.read(files): ...
    hands.embed(["a text", "another"])
"""

import multiprocessing
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from chains.errors import MachineError
from retrieval.parser import Limits
from retrieval.prepare import Prepared, prepare
from retrieval.store import File
from retrieval.text import Unreadable
from retrieval.web import Fetched

Outcome = tuple[File, Prepared | Unreadable]

_AHEAD = 4  # files for each worker that are read before they are asked for


class Alone(AbstractContextManager["Alone"]):
    """Reads and embeds in this process."""

    workers = 1

    def __init__(self, embeddings: Any, limits: Limits, edge: int) -> None:
        self._told = embeddings, limits, edge
        self._embeddings = embeddings

    def read(self, files: Iterable[File]) -> Iterator[Outcome]:
        """Yield every file with what it gives, or why it cannot be read, in order."""
        for file in files:
            yield file, _prepared(file.path, *self._told)

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return a vector for each text, in order."""
        vectors: Sequence[Sequence[float]] = self._embeddings.embed_documents(list(texts))
        return vectors

    def page(self, fetched: Fetched) -> Prepared:
        """Return what a URL gave as a document. Raises Unreadable."""
        return _page(fetched, *self._told)

    def __exit__(self, *error: object) -> None:
        pass


class Crew(AbstractContextManager["Crew"]):
    """Reads and embeds in processes of its own, each with the embedding model."""

    def __init__(self, embeddings: Any, limits: Limits, edge: int, workers: int) -> None:
        self.workers = workers
        self._told = embeddings, limits, edge
        threads = max(1, len(os.sched_getaffinity(0)) // workers) if hasattr(os, "sched_getaffinity") else 1
        spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self._pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_begin, initargs=(*self._told, threads))

    def read(self, files: Iterable[File]) -> Iterator[Outcome]:
        """Yield every file with what it gives, or why it cannot be read, in order."""
        waiting: deque[tuple[File, Future[Prepared | Unreadable]]] = deque()
        for file in files:
            waiting.append((file, self._pool.submit(_read, file.path)))
            if len(waiting) > _AHEAD * self.workers:
                yield self._first(waiting)
        while waiting:
            yield self._first(waiting)

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return a vector for each text, in order; texts of like length go to one worker."""
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        shares = [order[n :: self.workers] for n in range(self.workers)]
        tasks = [self._pool.submit(_embed, [texts[at] for at in share]) for share in shares if share]
        vectors: dict[int, Sequence[float]] = {}
        for share, task in zip(filter(None, shares), tasks, strict=True):
            vectors.update(zip(share, _result(task), strict=True))
        return [vectors[at] for at in range(len(texts))]

    def page(self, fetched: Fetched) -> Prepared:
        """Return what a URL gave as a document; one is too little for the workers. Raises Unreadable."""
        return _page(fetched, *self._told)

    def _first(self, waiting: "deque[tuple[File, Future[Prepared | Unreadable]]]") -> Outcome:
        file, task = waiting.popleft()
        return file, _result(task)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def crew(embeddings: Any, limits: Limits, workers: int, edge: int = 0) -> Alone | Crew:
    """Return who does the work: this process for one worker, else that many others. `edge`: the shorter side of pictures, in pixels."""
    return Alone(embeddings, limits, edge) if workers == 1 else Crew(embeddings, limits, edge, workers)


_here: tuple[Any, Limits, int]  # of a worker's process


def _begin(embeddings: Any, limits: Limits, edge: int, threads: int) -> None:
    global _here
    _here = embeddings, limits, edge
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # before torch is loaded


def _read(path: str) -> Prepared | Unreadable:
    return _prepared(path, *_here)


def _embed(texts: list[str]) -> Sequence[Sequence[float]]:
    vectors: Sequence[Sequence[float]] = _here[0].embed_documents(texts)
    return vectors


def _prepared(path: str, embeddings: Any, limits: Limits, edge: int) -> Prepared | Unreadable:
    try:
        return prepare(Path(path), embeddings, limits, edge)
    except Unreadable as error:
        return error


def _page(fetched: Fetched, embeddings: Any, limits: Limits, edge: int) -> Prepared:
    with tempfile.TemporaryDirectory(prefix="chaintune-") as folder:
        path = Path(folder) / f"page{fetched.suffix}"
        path.write_bytes(fetched.raw)
        return prepare(path, embeddings, limits, edge)


def _result(task: "Future[Any]") -> Any:
    try:
        return task.result()
    except BrokenProcessPool as error:
        raise MachineError(
            "a worker of the sync was ended, perhaps for want of memory; sync again, with fewer workers"
        ) from error
