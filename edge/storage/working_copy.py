"""The primary's own copy of a database whose truth lies in a libSQL server.

It is the SQLite file that a standalone node would have. A unit of work runs on it and is recorded;
its transaction stays open until the server has committed the record, and then commits too.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from edge.errors import Unavailable
from edge.storage.recorded import RecordingUnit, Statement
from edge.storage.sqld import READ_FENCE, Fence
from edge.storage.sqlite import SqliteEngine, translated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge.ports.sql import SqlWriter
    from edge.storage.recorded import Record
    from edge.storage.sqlite import UnitConnection

T = TypeVar("T")

PAGES_PER_STEP: Final = 4_096
"""16 MiB between two looks at the source while it is copied."""
ROWS_PER_UPLOAD: Final = 500


class WorkingCopy(SqliteEngine):
    """An SQLite file whose commits wait for somebody else's."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, synchronous="NORMAL")  # what is durable is the server's business

    async def write_through(
        self, work: Callable[[SqlWriter], T], commit: Callable[[Record], Awaitable[None]]
    ) -> T:
        """Run `work`, then `commit` with its record; keep the result if both succeed.

        When this file cannot commit after the other has, StorageFull or StorageBusy is raised and
        the copy is behind.
        """
        return await asyncio.shield(self._written_through(work, commit))

    async def fence(self) -> Fence | None:
        """Return the fence as this copy has it, or None when it has none."""
        return await self._in_writer(_fence)

    async def is_empty(self) -> bool:
        """Tell whether nothing was ever stored here."""
        return await self._in_writer(
            lambda c: c.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        )

    async def replay(self, statements: Sequence[Statement]) -> None:
        """Carry out statements that the server has carried out."""
        await self._in_writer(partial(_replay, statements))

    async def replace_by(self, source: Path) -> None:
        """Become a copy of another database file, which is only read."""
        await self._in_writer(partial(_copy_from, source))

    async def upload(self, send: Callable[[list[Statement]], Awaitable[None]]) -> None:
        """Hand on everything that is stored here, as statements, in bounded batches.

        Nobody may write meanwhile.
        """
        schema, tables = await self._in_writer(_schema)
        await send(schema[0])
        for table in tables:
            cursor = await self._in_writer(partial(_opened_cursor, table))
            while rows := await self._in_writer(lambda _, c=cursor: c.fetchmany(ROWS_PER_UPLOAD)):
                await send([_insert(table, rows)])
        numbers = await self._in_writer(_row_numbers)
        await send([*numbers, *schema[1]])

    async def _written_through(
        self, work: Callable[[SqlWriter], T], commit: Callable[[Record], Awaitable[None]]
    ) -> T:
        writer = self._opened()
        async with self._write_turn:
            with translated():
                result, record = await writer.unit(partial(_begun, work))
            try:
                if record.statements:
                    await commit(record)
            except BaseException:
                await writer.unit(_rolled_back)
                raise
            with translated():
                await writer.unit(_committed)
            return result

    async def _in_writer(self, work: Callable[[sqlite3.Connection], T]) -> T:
        writer = self._opened()
        async with self._write_turn:
            with translated():
                return await asyncio.shield(writer.unit(work))

    def _opened(self) -> UnitConnection:
        self._require_open()
        if self._writer is None:
            raise Unavailable("This process reads only.")
        return self._writer


def _begun(work: Callable[[SqlWriter], T], connection: sqlite3.Connection) -> tuple[T, Record]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        unit = RecordingUnit(connection)
        return work(unit), unit.record
    except BaseException:
        _rolled_back(connection)
        raise


def _rolled_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _committed(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except BaseException:
        _rolled_back(connection)
        raise


def _fence(connection: sqlite3.Connection) -> Fence | None:
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sk_fence'").fetchone()
    row = connection.execute(READ_FENCE).fetchone() if known else None
    return None if row is None else Fence(*row)


def _replay(statements: Sequence[Statement], connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements:
            connection.execute(statement.sql, statement.parameters)
        connection.execute("COMMIT")
    except BaseException:
        _rolled_back(connection)
        raise


def _copy_from(source: Path, connection: sqlite3.Connection) -> None:
    origin = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
    try:
        origin.backup(connection, pages=PAGES_PER_STEP)
    finally:
        origin.close()


def _schema(
    connection: sqlite3.Connection,
) -> tuple[tuple[list[Statement], list[Statement]], list[str]]:
    """Return the tables' statements, those of indexes and triggers, and the tables' names."""
    found = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL "
        "AND name NOT LIKE 'sqlite_%' AND name <> 'sk_fence' ORDER BY rowid"
    ).fetchall()
    tables = [Statement(sql) for kind, _, sql in found if kind == "table"]
    rest = [Statement(sql) for kind, _, sql in found if kind != "table"]
    return (tables, rest), [name for kind, name, _ in found if kind == "table"]


def _opened_cursor(table: str, connection: sqlite3.Connection) -> sqlite3.Cursor:
    return connection.execute(f'SELECT * FROM "{table}"')


def _row_numbers(connection: sqlite3.Connection) -> list[Statement]:
    """Return what keeps AUTOINCREMENT from giving the number of a dropped row again."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'")
    if known.fetchone() is None:
        return []
    found = connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
    return [
        statement
        for name, last in found
        for statement in (
            Statement("DELETE FROM sqlite_sequence WHERE name = ?", (name,)),
            Statement("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, last)),
        )
    ]


def _insert(table: str, rows: list[tuple[object, ...]]) -> Statement:
    one = f"({', '.join('?' * len(rows[0]))})"
    sql = f'INSERT INTO "{table}" VALUES {", ".join([one] * len(rows))}'
    return Statement(sql, tuple(value for row in rows for value in row))
