"""The library's truth, in SQLite: the text of every source, its passages, and what is not yet in the vector store.

A source is written as pending with its passages in one transaction, its vectors go to Chroma, and only then is it marked done. What a
killed process leaves behind is thereby known: pending sources, and doomed vectors whose passages are gone.
Passages have numbers that are never used again; Chroma knows them by these.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from chains.errors import MachineError, UsageError
from retrieval.split import Piece

_BUSY_MS = 10_000


def _first(db: apsw.Connection) -> None:
    db.execute("""
        CREATE TABLE facts (key TEXT PRIMARY KEY, value) WITHOUT ROWID;  -- state: grows with every change; embeddings: the model's name
        CREATE TABLE sources (
            id INTEGER PRIMARY KEY,
            source TEXT NOT NULL UNIQUE,  -- the name that passages carry: the path below the folder that was synced
            path TEXT NOT NULL UNIQUE,    -- absolute
            root TEXT NOT NULL,           -- what was synced: a folder, a pattern or a file
            hash TEXT NOT NULL,
            mtime REAL NOT NULL,          -- seconds since 1970
            size INTEGER NOT NULL,        -- bytes
            text TEXT NOT NULL,
            done INTEGER NOT NULL         -- 1: every passage that is to have a vector has it
        );
        CREATE TABLE passages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            source_id INTEGER NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
            start INTEGER NOT NULL,       -- in characters of the source's text
            end INTEGER NOT NULL,
            heading TEXT NOT NULL,        -- '' where there is none
            page INTEGER,
            terms TEXT NOT NULL,          -- of the keyword index, with spaces between
            embedded INTEGER NOT NULL     -- 1: the embedding model knows its language
        );
        CREATE INDEX passages_of ON passages (source_id);
        CREATE TABLE doomed (id INTEGER PRIMARY KEY);  -- vectors to be taken out of Chroma
    """)


_MIGRATIONS: list[Callable[[apsw.Connection], None]] = [_first]  # add at the end, change none


class Row(NamedTuple):
    """A passage as it is stored."""

    id: int
    source: str
    start: int
    end: int
    heading: str
    page: int | None
    text: str


class File(NamedTuple):
    """What is known of a source without its text."""

    id: int
    source: str
    path: str
    root: str
    hash: str
    mtime: float
    size: int


class NewPassage(NamedTuple):
    """A passage to be stored."""

    piece: Piece
    terms: list[str]
    embedded: bool


class Store:
    """One connection to a library's database, for the threads of this process in turn."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        with self._failing():
            self._db = apsw.Connection(str(path))
            self._db.set_busy_timeout(_BUSY_MS)
            self._db.pragma("journal_mode", "wal")
            self._db.pragma("synchronous", "full")
            self._db.pragma("foreign_keys", True)
            self._migrate()

    def close(self) -> None:
        """Close the file. The store cannot be used after that."""
        with self._lock:
            self._db.close()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what a SELECT finds."""
        with self._lock, self._failing():
            return list(self._db.execute(sql, values))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """Yield the connection inside one write transaction, undone where the block raises."""
        with self._lock, self._failing():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def state(self) -> int:
        """Return the number of the library's state: another one means that passages came or went."""
        return int((self.rows("SELECT value FROM facts WHERE key = 'state'") or [(0,)])[0][0])

    def embeddings(self) -> str | None:
        """Return the name of the model whose vectors these are, None before the first sync."""
        return next((name for (name,) in self.rows("SELECT value FROM facts WHERE key = 'embeddings'")), None)

    def files(self) -> list[File]:
        """Return all sources in the order of their names."""
        return [
            File(*row)
            for row in self.rows("SELECT id, source, path, root, hash, mtime, size FROM sources ORDER BY source")
        ]

    def text(self, source: str) -> str | None:
        """Return the whole text of a source, None where there is no such source."""
        return next((text for (text,) in self.rows("SELECT text FROM sources WHERE source = ?", (source,))), None)

    def passage(self, id: int) -> Row | None:
        """Return the passage with this id, None where it is gone."""
        return next((Row(*row) for row in self.rows(_PASSAGE, (id,))), None)

    def waiting(self) -> Iterator[Row]:
        """Yield the passages of pending sources that are to have a vector."""
        for id, source, text in self.rows("SELECT id, source, text FROM sources WHERE NOT done ORDER BY id"):
            sql = "SELECT id, start, end, heading, page FROM passages WHERE source_id = ? AND embedded ORDER BY id"
            for passage, start, end, heading, page in self.rows(sql, (id,)):
                yield Row(passage, source, start, end, heading, page, text[start:end])

    def doomed(self) -> list[int]:
        """Return the ids of vectors whose passages are gone."""
        return [id for (id,) in self.rows("SELECT id FROM doomed")]

    def embedded(self) -> set[int]:
        """Return the ids of all passages that are to have a vector."""
        return {id for (id,) in self.rows("SELECT id FROM passages WHERE embedded")}

    def put(self, file: File, text: str, passages: Sequence[NewPassage]) -> None:
        """Write a source as pending, in place of the one with its id (0: a new one). Call inside a transaction."""
        db = self._db
        if file.id:
            self.doom(file.id)
            db.execute(
                "UPDATE sources SET source = ?, path = ?, root = ?, hash = ?, mtime = ?, size = ?, text = ?, done = 0 WHERE id = ?",
                (*file[1:], text, file.id),
            )
            id = file.id
        else:
            db.execute(
                "INSERT INTO sources (source, path, root, hash, mtime, size, text, done) VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                (*file[1:], text),
            )
            id = db.last_insert_rowid()
        db.executemany(
            "INSERT INTO passages (source_id, start, end, heading, page, terms, embedded) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    id,
                    new.piece.start,
                    new.piece.end,
                    new.piece.heading,
                    new.piece.page,
                    " ".join(new.terms),
                    new.embedded,
                )
                for new in passages
            ],
        )

    def doom(self, source_id: int) -> None:
        """Take a source's passages away and note their vectors for removal. Call inside a transaction."""
        self._db.execute("INSERT INTO doomed SELECT id FROM passages WHERE source_id = ? AND embedded", (source_id,))
        self._db.execute("DELETE FROM passages WHERE source_id = ?", (source_id,))

    def move(self, file: File) -> None:
        """Note that a source's file is elsewhere now, with the same content."""
        with self.transaction() as db:
            db.execute(
                "UPDATE sources SET path = ?, root = ?, mtime = ? WHERE id = ?",
                (file.path, file.root, file.mtime, file.id),
            )

    def unfinished(self) -> bool:
        """Return whether anything is pending or doomed."""
        return bool(self.rows("SELECT 1 FROM sources WHERE NOT done UNION ALL SELECT 1 FROM doomed LIMIT 1"))

    def all_pending(self) -> None:
        """Mark every source pending."""
        with self.transaction() as db:
            db.execute("UPDATE sources SET done = 0")

    def settle(self) -> int:
        """Mark every source done and forget the doomed vectors, since Chroma holds what it should; return the library's new state."""
        with self.transaction() as db:
            db.execute("UPDATE sources SET done = 1 WHERE NOT done")
            db.execute("DELETE FROM doomed")
            db.execute("INSERT INTO facts VALUES ('state', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1")
        return self.state()

    def use(self, embeddings: str, covers: Callable[[str], bool]) -> None:
        """Note the model whose vectors come next, and which passages it is for: those in a language that it knows."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES ('embeddings', ?)", (embeddings,))
            for id, text in self.rows("SELECT id, text FROM sources"):
                for passage, start, end in self.rows("SELECT id, start, end FROM passages WHERE source_id = ?", (id,)):
                    db.execute("UPDATE passages SET embedded = ? WHERE id = ?", (covers(text[start:end]), passage))
            db.execute("UPDATE sources SET done = 0")

    def _migrate(self) -> None:
        if self._db.pragma("user_version") == len(_MIGRATIONS):
            return
        with self.transaction() as db:
            version = db.pragma("user_version")
            if version > len(_MIGRATIONS):
                raise MachineError(
                    f"{self._path} was written by a newer chaintune (version {version}); upgrade this one"
                )
            for migrate in _MIGRATIONS[version:]:
                migrate(db)
            db.pragma("user_version", len(_MIGRATIONS))

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except apsw.ConnectionClosedError as error:
            raise UsageError(f"the library of {self._path} is closed; open it again") from error
        except apsw.FullError as error:
            raise MachineError(
                f"the disk is full while writing {self._path}; free some space and sync again"
            ) from error
        except (apsw.NotADBError, apsw.CorruptError) as error:
            raise MachineError(
                f"{self._path} is damaged ({error}); delete the library's folder and sync your documents again"
            ) from error
        except (apsw.BusyError, apsw.LockedError) as error:
            raise MachineError(f"{self._path} is locked by another process; wait for it or end it") from error
        except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.IOError, apsw.PermissionsError) as error:
            raise MachineError(f"{self._path} cannot be used ({error}); check the folder's permissions") from error


# SQLite counts a TEXT in characters, as Python does; the text has no NUL, where SQLite would stop.
_PASSAGE = """
    SELECT passages.id, source, start, end, heading, page, substr(text, start + 1, end - start)
    FROM passages JOIN sources ON sources.id = source_id WHERE passages.id = ?
"""
