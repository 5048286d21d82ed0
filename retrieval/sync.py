"""Brings a library in line with the files on disk: what is new or has changed is read, split and embedded, what is gone leaves.

Files are compared by the hash of their content. They go in by groups: SQLite first (pending), then Chroma, then SQLite again (done), so
that the next sync can finish what a killed one began.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from chains.passages import HEADING, PAGE, SOURCE
from retrieval import words
from retrieval.kinds import KINDS
from retrieval.loaders import check, load
from retrieval.scan import Scope, source_name
from retrieval.split import BETWEEN, Piece, split
from retrieval.store import File, NewPassage, Row, Store
from retrieval.text import Text, Unreadable
from retrieval.vectors import Vectors

Progress = Callable[[int, int, str], None]
"""Called with how many of how many files are read, and the name of the last."""

_READING = b"1"  # goes up when the loaders or the splitter change, so that every file counts as changed
_GROUP = 60_000  # characters of documents that are written together: what a killed sync may have to embed again
_TOGETHER = 128  # passages that are embedded and written at a time


@dataclass(frozen=True)
class SyncReport:
    """How many sources came, changed, left and stayed, and the files that could not be read, each with the reason."""

    added: int
    updated: int
    deleted: int
    unchanged: int
    failed: list[tuple[str, str]]


class Writer:
    """Writes a library: made and used under its lock."""

    def __init__(self, store: Store, vectors: Vectors, embeddings: Any) -> None:
        self._store = store
        self._vectors = vectors
        self._embeddings = embeddings

    def sync(self, scope: Scope, progress: Progress | None) -> SyncReport:
        """Return what was done. Raises UsageError where there is nothing to be done about."""
        known = {file.path: file for file in self._store.files()}
        covered = [file for file in known.values() if scope.covers(file.path, file.root)]
        if not scope.files and not covered:
            raise UsageError(f"there is no document in {scope.root}; the kinds that are read are {', '.join(KINDS)}")
        self.repair()
        names = {file.source for file in known.values()}
        counts = {"added": 0, "updated": 0, "unchanged": 0}
        failed: list[tuple[str, str]] = []
        group: list[tuple[File, Text]] = []
        for n, path in enumerate(scope.files, 1):
            before = self._known(path, scope, known)
            try:
                changed = self._read(path, scope, before, names)
            except Unreadable as error:
                stays = "; what was read of it before stays" if before else ""
                failed.append((shown(path), f"{shown(path.name)} {error}{stays}"))
            else:
                counts["unchanged" if changed is None else "updated" if before else "added"] += 1
                group += [changed] if changed else []
            if sum(len(text.text) for _, text in group) >= _GROUP or n == len(scope.files):
                self._write(group)
                group = []
            if progress:
                progress(n, len(scope.files), shown(path.name))
        covered = [file for file in self._store.files() if scope.covers(file.path, file.root)]
        gone = [file for file in covered if not Path(file.path).is_file()]
        if gone:
            self.remove(gone)
        return SyncReport(**counts, deleted=len(gone), failed=failed)

    def remove(self, files: Sequence[File]) -> None:
        """Take sources out, and finish what is pending."""
        with self._store.transaction() as db:
            for file in files:
                self._store.doom(file.id)
                db.execute("DELETE FROM sources WHERE id = ?", (file.id,))
        self.finish()

    def finish(self) -> None:
        """Bring what is pending into Chroma and mark it done."""
        if not self._store.unfinished():
            return
        self._embed(self._store.waiting())
        if doomed := self._store.doomed():
            self._vectors.delete(doomed)
        self._vectors.seen(self._store.settle())

    def repair(self, thorough: bool = False) -> int:
        """Give every passage its vector and every vector its passage; return how many were missing or left over.

        Looks only where a killed process left something pending or the folder of vectors is gone, or `thorough`.
        """
        embedded = self._store.embedded()
        if not (thorough or self._store.unfinished() or (embedded and not self._vectors.exists)):
            return 0
        there = self._vectors.ids() if embedded or self._vectors.exists else set()
        missing, extra = embedded - there, there - embedded
        if missing:
            self._store.all_pending()
            self._embed(row for row in self._store.waiting() if row.id in missing)
        if extra:
            self._vectors.delete(sorted(extra))
        self._vectors.seen(self._store.settle())
        return len(missing) + len(extra)

    def _known(self, path: Path, scope: Scope, known: dict[str, File]) -> File | None:
        """Return the source that this file is: the one at its path, or one of the same name whose file is gone (it was moved here)."""
        name = source_name(path, scope.folder)
        moved = (file for file in known.values() if file.source == name and not Path(file.path).exists())
        return known.get(str(path)) or next(moved, None)

    def _read(self, path: Path, scope: Scope, before: File | None, names: set[str]) -> tuple[File, Text] | None:
        """Return the file with its text; None where its content is known. Raises Unreadable."""
        check(path)
        stat = path.stat()
        name = before.source if before else _free(source_name(path, scope.folder), scope.folder.name, names)
        file = File(before.id if before else 0, name, str(path), scope.root, _hash(path), stat.st_mtime, stat.st_size)
        if before and before.hash == file.hash:
            if before.path != file.path:
                self._store.move(file)
            return None
        text = load(path)
        names.add(name)
        return file, text

    def _write(self, group: Sequence[tuple[File, Text]]) -> None:
        """Write the files as pending in one transaction, and finish them."""
        if not group:
            return
        pieces = [list(split(text)) for _, text in group]
        terms = iter(
            words.terms([_counted(text, piece) for (_, text), row in zip(group, pieces, strict=True) for piece in row])
        )
        with self._store.transaction():
            for (file, text), row in zip(group, pieces, strict=True):
                new = [NewPassage(piece, next(terms), covers(self._embeddings, _cut(text, piece))) for piece in row]
                self._store.put(file, text.text, new)
        self.finish()

    def _embed(self, rows: Iterator[Row]) -> None:
        while group := list(islice(rows, _TOGETHER)):
            vectors = self._embeddings.embed_documents([_embedded_text(row) for row in group])
            self._vectors.add([row.id for row in group], vectors, [_about(row) for row in group])


def shown(path: str | Path) -> str:
    """Return a path as text, with marks where its bytes are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def covers(embeddings: Any, text: str) -> bool:
    """Return whether the model knows the language of `text`; one that does not say is taken to know it."""
    return embeddings.covers(text) if hasattr(embeddings, "covers") else True


def _cut(text: Text, piece: Piece) -> str:
    return text.text[piece.start : piece.end]


def _counted(text: Text, piece: Piece) -> str:
    """Return what a passage's terms are taken from: those of its heading count once more, since it says what the passage is about."""
    return f"{_nearest(piece.heading)}\n{_cut(text, piece)}"


def _embedded_text(row: Row) -> str:
    """Return the passage, below its heading where the heading is not in it."""
    heading = _nearest(row.heading)
    return row.text if heading in row.text else f"{heading}\n{row.text}"


def _nearest(heading: str) -> str:
    return heading.rpartition(BETWEEN)[2]


def _about(row: Row) -> dict[str, Any]:
    """Return what Chroma can filter by."""
    return {SOURCE: row.source, HEADING: row.heading, **({} if row.page is None else {PAGE: row.page})}


def _hash(path: Path) -> str:
    digest = hashlib.sha256(_READING)
    with path.open("rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def _free(name: str, folder: str, taken: set[str]) -> str:
    """Return `name`, or where another file has it already, the name with its folder's before it, and then with a number after it."""
    if name not in taken:
        return name
    longer = f"{folder}/{name}"
    numbered = (f"{longer} ({n})" for n in range(2, len(taken) + 3))
    return longer if longer not in taken else next(other for other in numbered if other not in taken)
