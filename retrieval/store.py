"""The library's truth, in SQLite: the text of every source, its passages, and what is not yet in the vector store.

A source is written with its passages, the new ones pending, in one transaction; their vectors go to Chroma, and only then are they marked
done. What a killed process leaves behind is thereby known: pending passages, and doomed vectors whose passages are gone.
Passages have numbers that are never used for another text; Chroma knows them by these.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from chains.errors import MachineError, UsageError
from retrieval import words
from retrieval.prepare import NewPassage, Prepared
from retrieval.text import Heading, Text

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


def _by_passage(db: apsw.Connection) -> None:
    db.execute("""
        ALTER TABLE passages ADD COLUMN header TEXT NOT NULL DEFAULT '';    -- of the table that it is cut from, '' where it has it
        ALTER TABLE passages ADD COLUMN hash BLOB NOT NULL DEFAULT x'';     -- of what is embedded
        ALTER TABLE passages ADD COLUMN pending INTEGER NOT NULL DEFAULT 0; -- 1: what Chroma knows beside its vector is old; 2: it has none
        UPDATE passages SET pending = 2 WHERE embedded AND source_id IN (SELECT id FROM sources WHERE NOT done);
        CREATE INDEX pending_passages ON passages (pending) WHERE pending;
        ALTER TABLE sources DROP COLUMN done;
        ALTER TABLE sources ADD COLUMN shape TEXT NOT NULL DEFAULT '';      -- JSON: what a Text has beside its text; '' where not known
        ALTER TABLE sources ADD COLUMN about TEXT NOT NULL DEFAULT '';      -- JSON: what a caller says of a text that has no file
    """)


def _by_picture(db: apsw.Connection) -> None:
    db.execute(
        "ALTER TABLE passages ADD COLUMN picture INTEGER NOT NULL DEFAULT 0"
    )  # 1: its vector is the image model's


_MIGRATIONS: list[Callable[[apsw.Connection], None]] = [_first, _by_passage, _by_picture]  # add at the end, change none


class Row(NamedTuple):
    """A passage as it is stored."""

    id: int
    source: str
    start: int
    end: int
    heading: str
    page: int | None
    text: str
    header: str = ""  # of the table that it is cut from


class File(NamedTuple):
    """What is known of a source without its text."""

    id: int
    source: str
    path: str
    root: str
    hash: str
    mtime: float
    size: int


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
        return int(self.fact("state") or 0)

    def embeddings(self) -> str | None:
        """Return the name of the model whose vectors these are, None before the first sync."""
        name: str | None = self.fact("embeddings")
        return name

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

    def waiting(self, pending: int, picture: bool = False) -> Iterator[Row]:
        """Yield the passages of text, or the pictures, that are pending as that number says, source by source."""
        sql = "SELECT DISTINCT source_id FROM passages WHERE pending = ? AND picture = ? ORDER BY source_id"
        for (source_id,) in self.rows(sql, (pending, picture)):
            yield from self._passages_of(source_id, "AND pending = ?", pending)

    def by_source(self) -> Iterator[list[Row]]:
        """Yield the passages of one source after another."""
        for (source_id,) in self.rows("SELECT id FROM sources ORDER BY id"):
            yield list(self._passages_of(source_id))

    def _passages_of(self, source_id: int, which: str = "", *values: int) -> Iterator[Row]:
        sql = f"SELECT id, start, end, heading, page, header FROM passages WHERE source_id = ? {which} ORDER BY id"
        for source, text in self.rows("SELECT source, text FROM sources WHERE id = ?", (source_id,)):
            for id, start, end, heading, page, header in self.rows(sql, (source_id, *values)):
                yield Row(id, source, start, end, heading, page, text[start:end], header)

    def doomed(self) -> list[int]:
        """Return the ids of vectors whose passages are gone."""
        return [id for (id,) in self.rows("SELECT id FROM doomed")]

    def embedded(self, picture: bool = False) -> set[int]:
        """Return the ids of all passages of text, or of all pictures, that are to have a vector."""
        return {id for (id,) in self.rows("SELECT id FROM passages WHERE embedded AND picture = ?", (picture,))}

    def put(self, file: File, document: Prepared, about: str = "") -> None:
        """Write a source in place of the one with its id (0: a new one). Call inside a transaction.

        A passage that is embedded as one before was keeps its number, and with it its vector.
        """
        db = self._db
        values = (*file[1:], document.text.text, shape(document.text), about)
        if file.id:
            db.execute(
                f"UPDATE sources SET {', '.join(f'{column} = ?' for column in _COLUMNS)} WHERE id = ?",
                (*values, file.id),
            )
        else:
            db.execute(f"INSERT INTO sources ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})", values)
        id = file.id or db.last_insert_rowid()
        before = self._before(id)
        for new in document.passages:
            same = before.get(new.hash)
            if same:
                self._keep(same.pop(0), new)
            else:
                db.execute(_INSERT, (id, *_values(new), new.hash, new.embedded, 2 * new.embedded, new.picture))
        self._move_on()
        for gone in (old.id for rows in before.values() for old in rows):
            db.execute("INSERT INTO doomed SELECT id FROM passages WHERE id = ? AND embedded", (gone,))
            db.execute("DELETE FROM passages WHERE id = ?", (gone,))

    def _before(self, source_id: int) -> dict[bytes, list["_Old"]]:
        """Return the source's passages by their hash, in order."""
        found: dict[bytes, list[_Old]] = {}
        sql = "SELECT id, heading, page, hash FROM passages WHERE source_id = ? ORDER BY id"
        for id, heading, page, hash in self.rows(sql, (source_id,)):
            found.setdefault(hash, []).append(_Old(id, heading, page))
        return found

    def _keep(self, old: "_Old", new: NewPassage) -> None:
        moved = (old.heading, old.page) != (new.piece.heading, new.piece.page)
        self._db.execute(_UPDATE, (*_values(new), moved, old.id))

    def doom(self, source_id: int) -> None:
        """Take a source away with its passages, and note their vectors for removal. Call inside a transaction."""
        self._db.execute("INSERT INTO doomed SELECT id FROM passages WHERE source_id = ? AND embedded", (source_id,))
        self._db.execute("DELETE FROM sources WHERE id = ?", (source_id,))
        self._move_on()

    def move(self, file: File) -> None:
        """Note that a source's file is elsewhere now, or has another name, with the same content."""
        with self.transaction() as db:
            ((source,),) = db.execute("SELECT source FROM sources WHERE id = ?", (file.id,)).fetchall()
            db.execute(
                "UPDATE sources SET source = ?, path = ?, root = ?, mtime = ? WHERE id = ?",
                (file.source, file.path, file.root, file.mtime, file.id),
            )
            if source != file.source:
                db.execute(
                    "UPDATE passages SET pending = 1 WHERE source_id = ? AND embedded AND pending = 0", (file.id,)
                )

    def unfinished(self) -> bool:
        """Return whether anything is pending or doomed."""
        return bool(self.rows("SELECT 1 FROM passages WHERE pending UNION ALL SELECT 1 FROM doomed LIMIT 1"))

    def mark(self, ids: Iterable[int], pending: int) -> None:
        """Note what is to be done about these passages."""
        with self.transaction() as db:
            db.executemany("UPDATE passages SET pending = ? WHERE id = ?", [(pending, id) for id in ids])

    def settle(self, done: Iterable[int] = (), forgotten: Iterable[int] = ()) -> int:
        """Mark passages done and forget doomed vectors, since Chroma holds what it should; return the library's new state."""
        with self.transaction() as db:
            db.executemany("UPDATE passages SET pending = 0 WHERE id = ?", [(id,) for id in done])
            db.executemany("DELETE FROM doomed WHERE id = ?", [(id,) for id in forgotten])
            self._move_on()
        return self.state()

    def retell(self, terms: Iterable[tuple[int, Sequence[str]]], method: str) -> None:
        """Write the terms of passages, by their ids, all taken by that method."""
        with self.transaction() as db:
            rows = ((" ".join(own), id) for id, own in terms)
            db.executemany("UPDATE passages SET terms = ? WHERE id = ?", rows)
            db.execute("INSERT OR REPLACE INTO facts VALUES ('terms', ?)", (method,))
            self._move_on()

    def old_terms(self) -> bool:
        """Return whether the passages' terms were taken by another method than words.METHOD."""
        return self.fact("terms") != words.METHOD and bool(
            self.rows("SELECT 1 FROM passages WHERE NOT picture LIMIT 1")
        )

    def _move_on(self) -> None:
        """Count the library's state up, since passages or vectors come or go. Call inside a transaction."""
        self._db.execute("INSERT INTO facts VALUES ('state', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1")

    def fact(self, key: str) -> Any:
        """Return what is noted of the library under that key, None where there is nothing."""
        return next((value for (value,) in self.rows("SELECT value FROM facts WHERE key = ?", (key,))), None)

    def note(self, key: str, value: str | None) -> None:
        """Note a fact of the library; None takes it away."""
        with self.transaction() as db:
            db.execute("DELETE FROM facts WHERE key = ?", (key,))
            if value is not None:
                db.execute("INSERT INTO facts VALUES (?, ?)", (key, value))

    def use(self, embeddings: str, covers: Callable[[str], bool]) -> None:
        """Note the model whose vectors come next, and which passages it is for: those in a language that it knows. All are pending."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES ('embeddings', ?)", (embeddings,))
            for (id,) in self.rows("SELECT id FROM sources"):
                ((text,),) = self.rows("SELECT text FROM sources WHERE id = ?", (id,))
                for passage, start, end in self.rows(_OF_TEXT, (id,)):
                    known = covers(text[start:end])
                    db.execute(
                        "UPDATE passages SET embedded = ?, pending = ? WHERE id = ?", (known, 2 * known, passage)
                    )

    def document(self, source_id: int) -> tuple[File, Text | None, str]:
        """Return a source, its text where it is known how that is shaped, and what its caller said of it."""
        sql = "SELECT id, source, path, root, hash, mtime, size, text, shape, about FROM sources WHERE id = ?"
        ((*file, text, shaped, about),) = self.rows(sql, (source_id,))
        return File(*file), shapen(text, shaped) if shaped else None, about

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


class _Old(NamedTuple):
    """What is known of a passage that may stay."""

    id: int
    heading: str
    page: int | None


def shape(text: Text) -> str:
    """Return what a Text has beside its text, as JSON."""
    return json.dumps({key: value for key, value in vars(text).items() if key != "text" and value})


def shapen(text: str, shape: str) -> Text:
    """Return the Text again that `shape` was made of."""
    kept = json.loads(shape)
    headings = tuple(Heading(*heading) for heading in kept.pop("headings", ()))
    return Text(text, tuple(kept.pop("breaks", ())), headings=headings, **kept)


def _values(new: NewPassage) -> tuple[Any, ...]:
    piece = new.piece
    return piece.start, piece.end, piece.heading, piece.page, " ".join(new.terms), new.header


_COLUMNS = ("source", "path", "root", "hash", "mtime", "size", "text", "shape", "about")
_INSERT = """
    INSERT INTO passages (source_id, start, end, heading, page, terms, header, hash, embedded, pending, picture)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_OF_TEXT = "SELECT id, start, end FROM passages WHERE source_id = ? AND NOT picture"
_UPDATE = """
    UPDATE passages SET start = ?, end = ?, heading = ?, page = ?, terms = ?, header = ?, pending = max(pending, ? AND embedded) WHERE id = ?
"""

# SQLite counts a TEXT in characters, as Python does; the text has no NUL, where SQLite would stop.
_PASSAGE = """
    SELECT passages.id, source, start, end, heading, page, substr(text, start + 1, end - start), header
    FROM passages JOIN sources ON sources.id = source_id WHERE passages.id = ?
"""
