"""What SQLite itself can do here, without a node: measured in the same run as the node's figures.

The tables are those of the node's own generator, indexes included, with the node's pragmas.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from bench.todo_app import Todo
from bench.todo_rows import FIELDS, SPACE
from edge.repositories.sql.table import Table
from edge.storage.sqlite import CACHE_KIB, WAL_PAGES_CHECKPOINT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.todo_rows import Edit

TABLE = Table(Todo)
ROWS_PER_TRANSACTION = 1_000
VALUES = ", ".join(f'"{name}", "{name}__h", "{name}__n"' for name in FIELDS)


def open_raw(path: Path) -> sqlite3.Connection:
    """Make a database with the table of to-dos, fsynced at every commit."""
    connection = sqlite3.connect(path, isolation_level=None, uri=True)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES_CHECKPOINT}")
    for statement in TABLE.ddl():
        connection.execute(statement)
    return connection


def copy_rows(connection: sqlite3.Connection, source: Path) -> None:
    """Start from the rows of a node's database."""
    connection.execute("ATTACH ? AS node", (f"{source.as_uri()}?mode=ro",))
    connection.execute(f"INSERT INTO {TABLE.name} SELECT * FROM node.{TABLE.name}")
    connection.execute("DETACH node")


def seconds_to_upsert(path: Path, source: Path, batches: Sequence[Sequence[Edit]]) -> float:
    """Write edits as last-writer-wins upserts: a transaction a batch, an executemany a field."""
    prepared, sequence = [], 0
    for batch in batches:
        by_field: dict[str, list[tuple[object, ...]]] = {}
        for edit in batch:
            sequence += 1
            values = (edit.row, SPACE, sequence, edit.value, edit.h, edit.n)
            by_field.setdefault(edit.field, []).append(values)
        prepared.append([(_upsert(name), rows) for name, rows in by_field.items()])
    with closing(open_raw(path)) as connection:
        copy_rows(connection, source)
        started = time.perf_counter()
        for statements in prepared:
            connection.execute("BEGIN IMMEDIATE")
            for sql, rows in statements:
                connection.executemany(sql, rows)
            connection.execute("COMMIT")
        return time.perf_counter() - started


def seconds_to_insert(path: Path, source: Path) -> tuple[float, int]:
    """Insert every row of a node's database into an empty table; return also how many they were."""
    rows = read_rows(source)
    sql = f"INSERT INTO {TABLE.name} VALUES ({', '.join('?' * len(TABLE.column_names))})"
    with closing(open_raw(path)) as connection:
        started = time.perf_counter()
        for first in range(0, len(rows), ROWS_PER_TRANSACTION):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(sql, rows[first : first + ROWS_PER_TRANSACTION])
            connection.execute("COMMIT")
        return time.perf_counter() - started, len(rows)


def read_rows(path: Path) -> list[tuple[object, ...]]:
    """Return a table's rows, in table order."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(f"SELECT * FROM {TABLE.name} ORDER BY id").fetchall()


def stored_values(path: Path) -> list[tuple[object, ...]]:
    """Return every row's values and versions, without its sequence."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(f"SELECT id, {VALUES} FROM {TABLE.name} ORDER BY id").fetchall()


def first_versions(path: Path, *, space: str = SPACE) -> dict[str, int]:
    """Return the clock value of each freshly inserted row of a space, in order of the ids."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        query = f"SELECT id, alive__h FROM {TABLE.name} WHERE space = ? ORDER BY id"
        return dict(connection.execute(query, (space,)).fetchall())


def _upsert(name: str) -> str:
    wins = f"(excluded.{name}__h, excluded.{name}__n) > (t.{name}__h, t.{name}__n)"
    updates = ", ".join(
        f"{column} = iif({wins}, excluded.{column}, t.{column})"
        for column in (name, f"{name}__h", f"{name}__n")
    )
    return (
        f"INSERT INTO {TABLE.name} AS t (id, space, sequence, {name}, {name}__h, {name}__n) "
        "VALUES (?, ?, ?, ?, ?, ?) "
        f"ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, {updates}"
    )
