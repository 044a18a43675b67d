"""Consistent copies of databases that others are writing, and what a copy tells of itself.

A copy is made from a connection that cannot write, in one read transaction: the writer goes on, and
only the restart of its WAL waits. The page copy of SQLite's backup API is used rather than VACUUM
INTO, which takes several times as long to write the same rows (docs/adr/0015).

Invariants
  C1  the source is opened `mode=ro` and is neither written nor checkpointed
  C2  a copy is one commit of its source, in one file of its own without a WAL
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar

from core.ids import is_id
from edge.errors import NotFound
from edge.ports.backups import DatabaseFacts, SourceFile
from edge.storage.sqld import READ_FENCE
from edge.storage.sqlite import in_snapshot, translated
from edge.storage.tenants import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge.ports.sql import SqlReader

T = TypeVar("T")

LOCK_SECONDS_MAX: Final = 10.0
"""How long a copy waits for a recovery or a VACUUM to let it begin."""
PROBLEMS_MAX: Final = 100
"""Findings per database; a file with more is damaged all the same."""
NOT_COMPARED: Final = ("sk_fence", "sqlite_", "libsql_", "_litestream_")
"""Beginnings of names of tables that are no content: the fence, and what engines keep."""


def copy_database(source: Path, target: Path) -> None:
    """Copy a database into a new file; raises NotFound, StorageBusy, StorageFull."""
    if not source.is_file():
        raise NotFound(f"There is no database {source.name}.")
    with translated(), closing(opened(source)) as origin:
        copy_opened(origin, target)


def copy_opened(origin: sqlite3.Connection, target: Path) -> None:
    """Copy what a connection reads into a new file; raises sqlite3.Error, OSError."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        # A copy that a crash leaves half-written is thrown away: nothing has to be journalled.
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        # One step is one read transaction; smaller ones begin again whenever the writer commits.
        origin.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode = DELETE")


def settle(path: Path) -> None:
    """Make a database that nobody else has open one file without a WAL, as copies are (C2)."""
    with translated(), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def facts_of(path: Path) -> DatabaseFacts:
    """Return what a copy tells of itself."""
    with closing(opened(path)) as connection:
        known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'sk_meta'"
        if connection.execute(known).fetchone() is None:
            return DatabaseFacts()
        meta = dict(connection.execute("SELECT key, value FROM sk_meta").fetchall())
    schema = json.loads(meta.get("schema", "{}"))
    return DatabaseFacts(
        database=json.loads(meta.get("database", "null")),
        sequence=json.loads(meta.get("sequence", "null")),
        app=schema.get("app"),
    )


def integrity_problems(path: Path) -> list[str]:
    """Return what PRAGMA integrity_check finds wrong with a copy, at most PROBLEMS_MAX lines."""
    try:
        with closing(opened(path)) as connection:
            found = connection.execute(f"PRAGMA integrity_check({PROBLEMS_MAX})").fetchall()
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == [("ok",)] else [str(row[0]) for row in found]


def read_copy(path: Path, work: Callable[[SqlReader], T]) -> T:
    """Run `work` on a copy."""
    with closing(opened(path)) as connection:
        return in_snapshot(work, connection)


def commits_of(path: Path) -> tuple[int, int] | None:
    """Return (epoch, commits) of a copy's fence, or None when it has none."""
    with closing(opened(path)) as connection:
        return commits_in(connection)


def commits_in(connection: sqlite3.Connection) -> tuple[int, int] | None:
    """Return what `commits_of` does, of what a connection reads."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sk_fence'").fetchone()
    return connection.execute(READ_FENCE).fetchone() if known else None


def differing_tables(one: Path, other: Path) -> list[str]:
    """Compare two copies row for row; return a line for each table that differs."""
    found: list[str] = []
    with closing(opened(one)) as connection:
        connection.execute("ATTACH ? AS other", (f"{other.resolve().as_uri()}?mode=ro",))
        tables = {schema: _tables(connection, schema) for schema in ("main", "other")}
        for name in sorted(tables["main"] | tables["other"]):
            if name not in tables["other"]:
                found.append(f"{name}: only in the first")
            elif name not in tables["main"]:
                found.append(f"{name}: only in the second")
            else:
                more, fewer = (
                    connection.execute(
                        f'SELECT count(*) FROM (SELECT * FROM {left}."{name}" '
                        f'EXCEPT SELECT * FROM {right}."{name}")'
                    ).fetchone()[0]
                    for left, right in (("main", "other"), ("other", "main"))
                )
                if more or fewer:
                    found.append(f"{name}: {more} rows only in the first, {fewer} in the second")
    return found


class DataFolder:
    """The files of a data folder that a backup holds.

    Control comes before vault: what control points to was in the vault before it was pointed to.
    """

    def __init__(self, folder: Path, *, databases: Sequence[str], tenants: str, keys: str) -> None:
        self._folder = folder
        self._databases = databases
        self._tenants = tenants
        self._keys = keys

    def files(self) -> list[SourceFile]:
        """Return the databases and keys there are."""
        found = [
            SourceFile(name, is_database=True)
            for name in self._databases
            if (self._folder / name).is_file()
        ]
        found += [
            SourceFile(f"{self._tenants}/{path.name}", is_database=True)
            for path in sorted((self._folder / self._tenants).glob(f"*{SUFFIX}"))
            if is_id(path.stem)
        ]
        keys = self._folder / self._keys
        found += [
            SourceFile(f"{self._keys}/{path.name}", is_database=False)
            for path in sorted((*keys.glob("[!.]*.pem"), *keys.glob("[!.]*.pub")))
        ]
        return found

    def copy(self, file: SourceFile, target: Path) -> DatabaseFacts:
        """Write a consistent copy; a tenant may be erased and a key forgotten before its turn."""
        source = self._folder / file.path
        try:
            if file.is_database:
                copy_database(source, target)
                return facts_of(target)
            with source.open("rb") as original:
                descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with open(descriptor, "wb") as copy:  # noqa: PTH123  (a descriptor)
                    shutil.copyfileobj(original, copy)
        except (NotFound, FileNotFoundError):
            return DatabaseFacts(has_bytes=False)
        return DatabaseFacts()


def opened(path: Path) -> sqlite3.Connection:
    """Open a database of which nothing is written or checkpointed (C1)."""
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        timeout=LOCK_SECONDS_MAX,
    )


def _tables(connection: sqlite3.Connection, schema: str) -> set[str]:
    rows = connection.execute(f"SELECT name FROM {schema}.sqlite_master WHERE type = 'table'")
    return {row[0] for row in rows if not row[0].startswith(NOT_COMPARED)}
