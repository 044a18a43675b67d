"""The file: connections, pragmas, internal tables, transactions."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

FORMAT: Final = 1
"""Version of the internal tables, kept in PRAGMA user_version."""
BUSY_TIMEOUT_MS: Final = 10_000
"""Another process may have the file open (a share extension); ten seconds outlast its commits."""

# Names of collections and fields never begin with an underscore, so these cannot collide with them.
INTERNAL_TABLES: Final = (
    "CREATE TABLE _meta (key TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID",
    """
    CREATE TABLE _space (
        space TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, role TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE _bucket (
        space TEXT NOT NULL, collection TEXT NOT NULL, bucket INTEGER NOT NULL,
        digest BLOB NOT NULL, PRIMARY KEY (space, collection, bucket)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE _mutation_queue (
        device INTEGER NOT NULL, counter INTEGER NOT NULL, h INTEGER NOT NULL,
        schema_version INTEGER NOT NULL, payload BLOB NOT NULL,
        outcome TEXT NOT NULL DEFAULT '', sequence INTEGER NOT NULL DEFAULT 0,
        settled INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (device, counter)
    ) WITHOUT ROWID
    """,
    """
    CREATE INDEX _mutation_queue_final ON _mutation_queue (sequence)
    WHERE outcome IN ('merged', 'superseded')
    """,
    """
    CREATE TABLE _pending_change (
        collection TEXT NOT NULL, id TEXT NOT NULL, device INTEGER NOT NULL,
        counter INTEGER NOT NULL, PRIMARY KEY (collection, id, device, counter)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX _pending_change_mutation ON _pending_change (device, counter)",
    "CREATE TABLE _staged_page (position INTEGER PRIMARY KEY, blob BLOB NOT NULL)",
    """
    CREATE TABLE _rejected (
        device INTEGER NOT NULL, counter INTEGER NOT NULL, h INTEGER NOT NULL,
        schema_version INTEGER NOT NULL, payload BLOB NOT NULL, outcome TEXT NOT NULL,
        code TEXT NOT NULL, message TEXT NOT NULL, fields TEXT NOT NULL, confirmed BLOB NOT NULL,
        PRIMARY KEY (device, counter)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE _conflict (
        number INTEGER PRIMARY KEY, device INTEGER NOT NULL, counter INTEGER NOT NULL,
        collection TEXT NOT NULL, id TEXT NOT NULL, field TEXT NOT NULL, sides BLOB NOT NULL,
        UNIQUE (device, counter, collection, id, field)
    )
    """,
)


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the one connection that writes; it creates the file and its internal tables."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -32768")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        with transaction(connection):
            for statement in INTERNAL_TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {FORMAT}")
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that can only read, for the app's own SQL."""
    address = f"file:{quote(str(path))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Run the block in one write transaction: all of it is kept, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled back already, or may have left the transaction open.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Generator[None]:
    """Run the block's reads against one state of the database."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")
