"""The run store's tables: each function takes the file from one version to the next. Add at the end, change none."""

from collections.abc import Callable

import apsw


def _first(db: apsw.Connection) -> None:
    db.execute("""
        CREATE TABLE runs (
            id TEXT PRIMARY KEY,
            parent TEXT,       -- the run that this one is a step of
            session TEXT,      -- the conversation or the caller's own key
            name TEXT NOT NULL,
            inputs TEXT,       -- JSON
            messages TEXT,     -- JSON: the exact prompt, as chat rows; NULL where no model was called
            answer TEXT,       -- the model's own words, before any parser
            output TEXT,       -- JSON: what the chain returned
            model TEXT,
            sampling TEXT,     -- JSON
            usage TEXT,        -- JSON: tokens
            started REAL NOT NULL,  -- seconds since 1970
            ended REAL NOT NULL,
            error TEXT
        );
        CREATE INDEX roots ON runs (started) WHERE parent IS NULL;
        CREATE INDEX steps ON runs (parent) WHERE parent IS NOT NULL;
        CREATE TABLE feedback (
            run TEXT PRIMARY KEY,
            rating INTEGER CHECK (rating IN (-1, 1)),
            correction TEXT,
            comment TEXT,
            at REAL NOT NULL
        );
        CREATE TABLE exchanges (
            place INTEGER PRIMARY KEY,
            session TEXT NOT NULL,
            question TEXT NOT NULL,
            answer TEXT NOT NULL,
            run TEXT,
            at REAL NOT NULL
        );
        CREATE INDEX conversations ON exchanges (session);
    """)


def _threads(db: apsw.Connection) -> None:
    """Long lists, conversations above all, are kept as threads, whose beginnings all longer ones share (chains/runs/threads.py)."""
    db.execute("""
        CREATE TABLE items (hash BLOB PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;  -- JSON
        CREATE TABLE threads (
            hash BLOB PRIMARY KEY,
            before BLOB,       -- the thread without its last item; NULL where that was the only one
            item BLOB NOT NULL
        ) WITHOUT ROWID;
        ALTER TABLE runs ADD COLUMN thread BLOB;  -- the messages, where the column of that name is NULL
        ALTER TABLE runs ADD COLUMN lists TEXT;   -- JSON: {input: thread, in hexadecimal} of the inputs that are lists
        CREATE INDEX sessions ON runs (session, started) WHERE parent IS NULL;
    """)


def _summaries(db: apsw.Connection) -> None:
    db.execute("""
        CREATE TABLE summaries (
            session TEXT PRIMARY KEY,
            text TEXT NOT NULL,
            place INTEGER NOT NULL,  -- the last exchange that is in it
            at REAL NOT NULL
        )
    """)


def _named_sessions(db: apsw.Connection) -> None:
    """Only runs that belong to a session are found by it, and writing the others costs a fifth less."""
    db.execute("""
        DROP INDEX sessions;
        CREATE INDEX sessions ON runs (session, started) WHERE parent IS NULL AND session IS NOT NULL;
    """)


MIGRATIONS: list[Callable[[apsw.Connection], None]] = [_first, _threads, _summaries, _named_sessions]
