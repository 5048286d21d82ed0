"""Brings a library in line with the files on disk: what is new or has changed is read, split and embedded, what is gone leaves.

Files are compared by the hash of their content, and the passages of a file that changed by the hash of theirs. They go in by groups:
SQLite first (pending), then Chroma, then SQLite again (done), so that the next sync can finish what a killed one began.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from chains.passages import HEADING, PAGE, SOURCE
from retrieval import on_ray, web, words
from retrieval.crew import Alone, Crew
from retrieval.hashes import of_file, of_parts
from retrieval.kinds import KINDS, is_picture
from retrieval.loaders import check
from retrieval.pictures import Pictures
from retrieval.prepare import Prepared, counted_text, covers, cut, embedded_text, passages
from retrieval.scan import Scope, source_name
from retrieval.split import Piece
from retrieval.store import File, Row, Store
from retrieval.text import Picture, Text, Unreadable
from retrieval.vectors import Vectors

Progress = Callable[[int, int, str], None]
"""Called with how many of how many files are read, and the name of the last."""

TEXTS = "text:"
"""The root of texts that have no file; no path begins so."""

_GROUP = 120_000  # characters of documents that are written together, for each worker: what a killed sync may have to read again
_PICTURE = 3000  # characters that a picture counts for in a group
_TOGETHER = 256  # passages, for each worker, that are embedded and written at a time


@dataclass(frozen=True)
class SyncReport:
    """How many sources came, changed, left and stayed, and the files that could not be read, each with the reason."""

    added: int
    updated: int
    deleted: int
    unchanged: int
    failed: list[tuple[str, str]]
    skipped: int = 0  # pictures, since the library has no image model


def added(reports: Iterable[SyncReport]) -> SyncReport:
    """Return the sum of several reports."""
    several = list(reports)
    counts = {
        name: sum(getattr(one, name) for one in several)
        for name in ("added", "updated", "deleted", "unchanged", "skipped")
    }
    return SyncReport(**counts, failed=[failure for one in several for failure in one.failed])


@dataclass
class _Tally:
    """What has come of the files of one scope so far."""

    total: int
    progress: Progress | None
    done: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)

    def step(self, name: str) -> None:
        self.done += 1
        if self.progress:
            self.progress(self.done, self.total, shown(name))

    def skip(self, path: Path) -> None:
        self.skipped += 1
        self.step(path.name)

    def fail(self, path: Path, error: Unreadable, before: bool) -> None:
        stays = "; what was read of it before stays" if before else ""
        self.failed.append((shown(path), f"{shown(path.name)} {error}{stays}"))
        self.step(path.name)


class Writer:
    """Writes a library: made and used under its lock."""

    def __init__(
        self,
        store: Store,
        vectors: Vectors,
        embeddings: Any,
        crew: Alone | Crew,
        pictures: Pictures | None = None,
        ray: int = 0,
    ) -> None:
        self._store = store
        self._vectors = vectors
        self._embeddings = embeddings
        self._crew = crew
        self._pictures = pictures
        self._ray = (
            ray  # workers of a cluster that embed what was written, at the end; 0: the crew does, group by group
        )

    def sync(self, scope: Scope, progress: Progress | None) -> SyncReport:
        """Return what was done. Raises UsageError where there is nothing to be done about."""
        if not scope.files and not any(scope.covers(file.path, file.root) for file in self._store.files()):
            raise UsageError(f"there is no document in {scope.root}; the kinds that are read are {', '.join(KINDS)}")
        self.repair()
        known = {file.path: file for file in self._store.files()}
        tally = _Tally(len(scope.files), progress)
        group: list[tuple[File, Prepared]] = []
        for file, found in self._crew.read(self._changed(scope, known, tally)):
            if isinstance(found, Unreadable):
                tally.fail(Path(file.path), found, bool(file.id))
                continue
            group.append((file, found))
            tally.added, tally.updated = tally.added + (not file.id), tally.updated + bool(file.id)
            if sum(_size(prepared) for _, prepared in group) >= _GROUP * self._crew.workers:
                self.write(group)
                group = []
            tally.step(Path(file.path).name)
        self.write(group)
        self.finish()  # of what was renamed, or waits for Ray
        there = set(map(str, scope.files))
        gone = [file for file in self._store.files() if file.path not in there and _is_gone(file, scope)]
        if gone:
            self.remove(gone)
        return SyncReport(tally.added, tally.updated, len(gone), tally.unchanged, tally.failed, tally.skipped)

    def sync_url(self, url: str, allow_loopback: bool, progress: Progress | None) -> SyncReport:
        """Bring the document of one URL in line with what is there now; one that the server says is gone leaves."""
        self.repair()
        name = web.plain(url)
        before = next((file for file in self._store.files() if file.path == name), None)
        tally = _Tally(1, progress)
        try:
            fetched = web.fetch(url, allow_loopback)
            hash = of_parts([fetched.suffix.encode(), fetched.raw])
            if before and before.hash == hash:
                tally.unchanged = 1
            else:
                file = File(before.id if before else 0, name, name, name, hash, time.time(), len(fetched.raw))
                self.write([(file, self._crew.page(fetched))])
                tally.added, tally.updated = int(not before), int(bool(before))
            tally.step(name)
        except web.Gone as error:
            if before:
                self.remove([before])
                return SyncReport(0, 0, 1, 0, [])
            tally.failed.append((name, f"{name} {error}"))
        except Unreadable as error:
            stays = "; what was read of it before stays" if before else ""
            tally.failed.append((name, f"{name} {error}{stays}"))
        return SyncReport(tally.added, tally.updated, 0, tally.unchanged, tally.failed)

    def write(self, group: Sequence[tuple[File, Prepared]], about: Sequence[str] = ()) -> None:
        """Write the sources as pending in one transaction, and finish them, unless that waits for Ray."""
        if not group:
            return
        with self._store.transaction():
            for n, (file, prepared) in enumerate(group):
                self._store.put(file, prepared, about[n] if about else "")
        if not self._ray:
            self.finish({file.source: prepared.picture for file, prepared in group if prepared.picture})

    def put_texts(self, texts: Mapping[str, tuple[str, str]]) -> None:
        """Write texts, each with what is said of it, by their ids. Raises UsageError where an id is a document's name."""
        self.repair()
        known = {file.source: file for file in self._store.files()}
        group: list[tuple[File, Prepared]] = []
        for name, (text, _) in texts.items():
            before = known.get(name)
            if before and before.root != TEXTS:
                raise UsageError(
                    f"the id {name!r} is the name of a document that was synced; give the text another one"
                )
            text = text.encode("utf-8", "ignore").decode().replace("\0", "")
            file = File(before.id if before else 0, name, TEXTS + name, TEXTS, "", time.time(), len(text))
            prepared = passages(Text(text), [Piece(0, len(text), "", None)], self._embeddings)
            group.append((file, prepared._replace(passages=[new._replace(embedded=True) for new in prepared.passages])))
        self.write(group, [about for _, about in texts.values()])

    def remove(self, files: Sequence[File]) -> None:
        """Take sources out, and finish what is pending."""
        with self._store.transaction():
            for file in files:
                self._store.doom(file.id)
        self.finish()

    def finish(self, read: Mapping[str, Picture] | None = None) -> None:
        """Bring what is pending into Chroma and mark it done; `read` has the pictures that were read already, by their sources."""
        if not self._store.unfinished():
            return
        self._embed()
        self._embed_pictures(read or {})
        for picture, vectors in self._kinds():
            for rows in _batches(self._store.waiting(1, picture), _TOGETHER):
                vectors.say([row.id for row in rows], [_about(row) for row in rows])
                self._store.settle(done=[row.id for row in rows])
        if doomed := self._store.doomed():
            for _, vectors in self._kinds():
                vectors.delete(doomed)
        self._vectors.seen(self._store.settle(forgotten=doomed))

    def _kinds(self) -> list[tuple[bool, Vectors]]:
        """Return the vectors of text and, where there is an image model, those of pictures, each with whether they are pictures'."""
        return [(False, self._vectors), *([(True, self._pictures.vectors)] if self._pictures else [])]

    def repair(self, thorough: bool = False) -> int:
        """Give every passage its vector and every vector its passage; return how many were missing or left over.

        Looks only where a killed process left something pending or the vectors are gone, or `thorough`.
        """
        if self._store.fact(_DROPPING):
            self._drop()
            thorough = True
        return sum([self._repaired(picture, vectors, thorough) for picture, vectors in self._kinds()])

    def _repaired(self, picture: bool, vectors: Vectors, thorough: bool) -> int:
        """Return how many vectors of text, or of pictures, were missing or left over."""
        embedded = self._store.embedded(picture)
        there = vectors.exists
        if not (thorough or self._store.unfinished() or (embedded and not there)):
            return 0
        have = vectors.ids() if there else set()
        missing, extra = embedded - have, have - embedded
        waiting = {row.id for row in self._store.waiting(2, picture)}
        self._store.mark(missing - waiting, 2)
        self._store.mark(waiting & have, 1)  # embedded, and then this was not noted any more
        self.finish()
        if left := extra & vectors.ids() if extra else set():
            vectors.delete(sorted(left))
        return len(missing) + len(extra)

    def renew_terms(self) -> None:
        """Take the terms of all passages again where an older chaintune took them otherwise."""
        if self._store.fact("terms") != words.METHOD:
            self._store.retell(self._terms(), words.METHOD)

    def _terms(self) -> Iterator[tuple[int, list[str]]]:
        for rows in self._store.by_source():
            texts = [counted_text(row.text, row.heading, row.header) for row in rows]
            yield from zip((row.id for row in rows), words.terms(texts), strict=True)

    def rebuild(self, name: str, progress: Progress | None) -> None:
        """Split every source again and embed every passage, with the model `name`."""
        self._store.note(_DROPPING, "1")  # before anything else: a killed rebuild may leave vectors of the model before
        self._store.use(name, lambda text: covers(self._embeddings, text))
        self._drop()
        files = self._store.files()
        for n, file in enumerate(files, 1):
            file, text, about = self._store.document(file.id)
            if text is not None and file.root != TEXTS and not is_picture(file.path):
                self.write([(file, cut(text, self._embeddings))], [about])
            if progress:
                progress(n, len(files), file.source)
        self.finish()

    def _drop(self) -> None:
        """Delete all vectors, so that those of another model cannot be taken for new ones."""
        self._vectors.drop()
        self._store.note(_DROPPING, None)

    def _changed(self, scope: Scope, known: dict[str, File], tally: _Tally) -> Iterator[File]:
        """Yield the files that are to be read, with the ids of the sources that they are; count the others."""
        names = {file.source for file in known.values()}
        named = {file.source: file for file in known.values()}
        hashes = {file.hash: file for file in known.values()}
        for path in scope.files:
            if self._pictures is None and is_picture(path.name):
                tally.skip(path)
                continue
            before = _known(path, scope, known, named)
            try:
                file = self._looked_at(path, scope, before, names)
            except Unreadable as error:
                tally.fail(path, error, bool(before))
                continue
            if not before and (twin := hashes.get(file.hash)) and not Path(twin.path).exists():  # it was renamed
                del hashes[file.hash]
                self._store.move(file._replace(id=twin.id))
                tally.updated += 1
                tally.step(path.name)
            elif before and before.hash == file.hash:
                if before.path != file.path:
                    self._store.move(file)
                tally.unchanged += 1
                tally.step(path.name)
            else:
                yield file

    def _looked_at(self, path: Path, scope: Scope, before: File | None, names: set[str]) -> File:
        """Return what there is to know of the file without its text. Raises Unreadable."""
        stat = check(path)
        name = before.source if before else _free(source_name(path, scope.folder), scope.folder.name, names)
        names.add(name)
        return File(before.id if before else 0, name, str(path), scope.root, of_file(path), stat.st_mtime, stat.st_size)

    def _embed(self) -> None:
        """Embed what waits for it, each text once, and mark it done as it goes."""
        if self._ray:
            return self._embed_on_ray()
        for rows in _batches(self._store.waiting(pending=2), _TOGETHER * self._crew.workers):
            texts = [embedded_text(row.text, row.heading, row.header) for row in rows]
            once = list(dict.fromkeys(texts))
            vectors = dict(zip(once, self._crew.embed(once), strict=True))
            self._vectors.add(
                [row.id for row in rows], [vectors[text] for text in texts], [_about(row) for row in rows]
            )
            self._store.settle(done=[row.id for row in rows])

    def _embed_on_ray(self) -> None:
        rows = ((row, _about(row)) for row in self._store.waiting(pending=2))
        for done in on_ray.embed(rows, self._embeddings, self._vectors, self._ray):
            self._store.settle(done=done)

    def _embed_pictures(self, read: Mapping[str, Picture]) -> None:
        """Embed the pictures that wait for it; what is gone by now, or damaged, leaves, and comes back as a new file."""
        if self._pictures is None:
            return
        for rows in _batches(self._store.waiting(2, picture=True), _TOGETHER):
            lost = self._pictures.embed(rows, read)
            self._store.settle(done=[row.id for row in rows if row.source not in lost])
            with self._store.transaction():
                for file in self._store.files() if lost else ():
                    if file.source in lost:
                        self._store.doom(file.id)


_DROPPING = "dropping"  # noted while the vectors are of another model than the library's


def _is_gone(file: File, scope: Scope) -> bool:
    return scope.covers(file.path, file.root) and not Path(file.path).is_file()


def _size(prepared: Prepared) -> int:
    """Return the characters of a document; a picture counts as a page."""
    return len(prepared.text.text) + _PICTURE * bool(prepared.picture)


def _known(path: Path, scope: Scope, known: dict[str, File], named: dict[str, File]) -> File | None:
    """Return the source that this file is: the one at its path, or the one of its name where that file is gone (it was moved here)."""
    if str(path) in known:
        return known[str(path)]
    other = named.get(source_name(path, scope.folder))
    return other if other and Path(other.path).is_absolute() and not Path(other.path).exists() else None


def _batches(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    """Yield the rows, read beforehand, in lists of `size` and less."""
    several = iter(list(rows))
    while group := list(islice(several, size)):
        yield group


def shown(path: str | Path) -> str:
    """Return a path as text, with marks where its bytes are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _about(row: Row) -> dict[str, Any]:
    """Return what Chroma can filter by."""
    return {SOURCE: row.source, HEADING: row.heading, **({} if row.page is None else {PAGE: row.page})}


def _free(name: str, folder: str, taken: set[str]) -> str:
    """Return `name`, or where another file has it already, the name with its folder's before it, and then with a number after it."""
    if name not in taken:
        return name
    longer = f"{folder}/{name}"
    numbered = (f"{longer} ({n})" for n in range(2, len(taken) + 3))
    return longer if longer not in taken else next(other for other in numbered if other not in taken)
