"""The server's tables: each function takes `server.db` from one version to the next. Add at the end, change none."""

import apsw

from chains.sqlite import Migration


def _first(db: apsw.Connection) -> None:
    db.execute("""
        CREATE TABLE files (
            place INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,       -- a key's id, '' without one
            filename TEXT NOT NULL,
            purpose TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            created_at INTEGER NOT NULL,  -- seconds since 1970
            expires_at INTEGER
        );
        CREATE TABLE jobs (
            place INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            model TEXT NOT NULL,
            suffix TEXT NOT NULL,
            seed INTEGER NOT NULL,
            training_file TEXT NOT NULL,
            validation_file TEXT,
            hyperparameters TEXT NOT NULL,  -- JSON: as asked; numbers in place of 'auto' once the files are valid
            metadata TEXT,             -- JSON
            result_name TEXT NOT NULL, -- the name that the tuned model will have
            status TEXT NOT NULL,
            wanted TEXT NOT NULL DEFAULT '',   -- '', 'cancel' or 'pause'
            taken INTEGER NOT NULL DEFAULT 0,  -- a worker has it
            crashes INTEGER NOT NULL DEFAULT 0,
            trained_tokens INTEGER,
            error TEXT,                -- JSON
            result_file TEXT,
            finished_at INTEGER
        );
        CREATE TABLE events (
            place INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            job TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            level TEXT NOT NULL,
            type TEXT NOT NULL,
            message TEXT NOT NULL,
            data TEXT                  -- JSON
        );
        CREATE INDEX events_of_a_job ON events (job, place);
        CREATE TABLE checkpoints (
            place INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            job TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            step INTEGER NOT NULL,
            model TEXT NOT NULL UNIQUE,
            metrics TEXT NOT NULL      -- JSON
        );
        CREATE TABLE keys (
            place INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL,
            hash TEXT NOT NULL,        -- SHA-256 of the secret part
            created_at INTEGER NOT NULL,
            revoked_at INTEGER
        );
        CREATE TABLE models (name TEXT PRIMARY KEY, owner TEXT NOT NULL);
    """)


MIGRATIONS: list[Migration] = [_first]
