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


def _methods(db: apsw.Connection) -> None:
    db.execute("""
        ALTER TABLE jobs ADD COLUMN method TEXT NOT NULL DEFAULT 'supervised';
        ALTER TABLE jobs ADD COLUMN grader TEXT;  -- JSON
    """)


def _responses(db: apsw.Connection) -> None:
    db.execute("""
        CREATE TABLE responses (
            place INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            previous TEXT,             -- the response that it goes on from
            response TEXT NOT NULL,    -- JSON
            input TEXT NOT NULL        -- JSON: its own items
        );
    """)


def _uploads_and_batches(db: apsw.Connection) -> None:
    db.execute("""
        CREATE TABLE uploads (
            place INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            filename TEXT NOT NULL,
            purpose TEXT NOT NULL,
            bytes INTEGER NOT NULL,    -- of the whole
            mime_type TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_s INTEGER,         -- the file's life
            status TEXT NOT NULL,
            file TEXT                  -- once it is complete
        );
        CREATE TABLE parts (
            place INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            upload TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            bytes INTEGER NOT NULL
        );
        CREATE INDEX parts_of_an_upload ON parts (upload);
        CREATE TABLE batches (
            place INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            input_file TEXT NOT NULL,
            metadata TEXT,             -- JSON
            expires_s INTEGER,         -- the life of its result files
            status TEXT NOT NULL,
            total INTEGER NOT NULL DEFAULT 0,
            errors TEXT,               -- JSON
            output_file TEXT,
            error_file TEXT,
            times TEXT NOT NULL,       -- JSON: when it took which status
            created_at INTEGER NOT NULL,
            ended_at INTEGER
        );
        CREATE TABLE batch_results (
            batch TEXT NOT NULL,
            line INTEGER NOT NULL,
            good INTEGER NOT NULL,
            result TEXT NOT NULL,      -- the line of the output or the error file
            PRIMARY KEY (batch, line)
        ) WITHOUT ROWID;
    """)


def _webhooks(db: apsw.Connection) -> None:
    db.execute("""
        CREATE TABLE webhooks (
            place INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            name TEXT NOT NULL,
            url TEXT NOT NULL,
            events TEXT NOT NULL,      -- JSON
            secret TEXT NOT NULL,
            old_secret TEXT,           -- signs, too, until `old_until`
            old_until INTEGER,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL
        );
        CREATE TABLE deliveries (
            place INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            webhook TEXT NOT NULL,
            body TEXT NOT NULL,
            tries INTEGER NOT NULL,
            next_at INTEGER NOT NULL
        );
    """)


def _permissions(db: apsw.Connection) -> None:
    db.execute("""
        CREATE TABLE permissions (
            place INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            model TEXT NOT NULL,
            project TEXT NOT NULL,     -- the id of the key that may use it, too
            created_at INTEGER NOT NULL,
            UNIQUE (model, project)
        );
    """)


MIGRATIONS: list[Migration] = [_first, _methods, _responses, _uploads_and_batches, _webhooks, _permissions]
