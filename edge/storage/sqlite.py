"""The SQLite engine: one file, one writer connection, a few read-only ones, one hop per unit.

The writer alone checkpoints: SQLite before 3.51.3 can corrupt a WAL when two connections write or
checkpoint at once. Readers open `mode=ro` and hold a snapshot no longer than one unit of work.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import aiosqlite

from edge.errors import ConstraintViolated, StorageBusy, StorageFull, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from pathlib import Path

    from edge.ports.sql import SqlReader, SqlRow, SqlWriter

T = TypeVar("T")

READERS_MAX: Final = 3
"""Reading threads per database: enough to overlap disk waits, few enough to leave cores free."""
BUSY_TIMEOUT_MS: Final = 2_000
CACHE_KIB: Final = 32_768
STATEMENTS_CACHED: Final = 256
WAL_PAGES_CHECKPOINT: Final = 16_000
"""About 64 MiB of WAL between checkpoints: a push of 1,000 scattered rows writes 3,000 pages, and
with 4,000 nearly every one of them waited for a checkpoint (bench/push_growth.py)."""


class _Unit:
    """One unit of work on one connection, in a transaction; lives in the connection's thread."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[SqlRow]:
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.IntegrityError as error:
            raise ConstraintViolated(str(error)) from error

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> SqlRow | None:
        try:
            return self._connection.execute(sql, parameters).fetchone()
        except sqlite3.IntegrityError as error:
            raise ConstraintViolated(str(error)) from error

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        try:
            return self._connection.execute(sql, parameters).rowcount
        except sqlite3.IntegrityError as error:
            raise ConstraintViolated(str(error)) from error

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.IntegrityError as error:
            raise ConstraintViolated(str(error)) from error


class UnitConnection(aiosqlite.Connection):
    """aiosqlite's connection with one hop to its thread per unit of work, not per statement."""

    async def unit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the connection's thread."""
        return await self._execute(work, self._conn)  # pyright: ignore[reportUnknownMemberType]


def _connect(
    uri: str, *, is_writer: bool, synchronous: str, checkpoint_pages: int
) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        timeout=BUSY_TIMEOUT_MS / 1000,
        cached_statements=STATEMENTS_CACHED,
        check_same_thread=False,
    )
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    if is_writer:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
        connection.execute("PRAGMA temp_store = MEMORY")
    else:
        connection.execute("PRAGMA query_only = ON")
    return connection


def in_snapshot(work: Callable[[SqlReader], T], connection: sqlite3.Connection) -> T:
    """Run a unit of work in a transaction that only reads."""
    connection.execute("BEGIN")
    try:
        return work(_Unit(connection))
    finally:
        connection.execute("COMMIT")


def _in_transaction(work: Callable[[SqlWriter], T], connection: sqlite3.Connection) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(_Unit(connection))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _vacuum(connection: sqlite3.Connection) -> None:
    """Rewrite the file from what lives in it.

    `secure_delete` alone is not enough: it clears deleted cells and freed pages, but not the copies
    of cells that rebalancing has left in the gaps of pages in use: after 13,000 deleted rows the
    deleted name was still in the file 253 times. The rewrite costs about 6 s per GiB. The copy that
    VACUUM makes goes to a file, because the database may be larger than the memory.
    """
    connection.execute("PRAGMA temp_store = FILE")
    try:
        connection.execute("VACUUM")
    finally:
        connection.execute("PRAGMA temp_store = MEMORY")


def _empty_wal(connection: sqlite3.Connection) -> bool:
    is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return is_busy == 0


@contextmanager
def translated() -> Generator[None]:
    """Turn the driver's errors that a node can meet into its own."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise StorageFull("The node's disk is full or failing; nothing was taken.") from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StorageBusy("The database is locked by another process.") from error
        raise


class SqliteEngine:
    """One SQLite database file behind the SqlEngine port."""

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        is_writer: bool = True,
        checkpoints: bool = True,
    ) -> None:
        """Without `checkpoints` somebody else checkpoints, while this engine is open."""
        self._path = path
        self._checkpoint_pages = WAL_PAGES_CHECKPOINT if checkpoints else 0
        self._synchronous = synchronous
        self._is_writer = is_writer
        self._writer: UnitConnection | None = None
        self._write_turn = asyncio.Lock()
        self._idle_readers: deque[UnitConnection] = deque()
        self._readers: list[UnitConnection] = []
        self._reader_free = asyncio.Semaphore(READERS_MAX)
        self._is_open = False

    async def open(self) -> None:
        """Open the writer (which creates the file); readers open at their first use."""
        if self._is_writer:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with translated():
                self._writer = await self._started("rwc", is_writer=True)
        self._is_open = True

    async def read(self, work: Callable[[SqlReader], T]) -> T:
        """Run `work` on one snapshot, off the loop."""
        self._require_open()
        async with self._reader_free:
            reader = await self._take_reader()
            try:
                with translated():
                    return await reader.unit(partial(in_snapshot, work))
            finally:
                self._idle_readers.append(reader)

    async def write(self, work: Callable[[SqlWriter], T]) -> T:
        """Run `work` in the one write transaction, off the loop; units take turns."""
        self._require_open()
        writer = self._writer
        if writer is None:
            raise Unavailable("This process reads only.")
        async with self._write_turn:
            with translated():
                return await asyncio.shield(writer.unit(partial(_in_transaction, work)))

    async def scrub(self) -> bool:
        """Rewrite the file and empty the WAL, with writes and this process's reads held back."""
        self._require_open()
        writer = self._writer
        if writer is None:
            raise Unavailable("This process reads only.")
        async with self._write_turn:
            with translated():
                await asyncio.shield(writer.unit(_vacuum))
            return await self._log_emptied(writer)

    async def empty_log(self) -> bool:
        """Checkpoint and empty the WAL; False when a reader in another process kept it."""
        self._require_open()
        writer = self._writer
        if writer is None:
            raise Unavailable("This process reads only.")
        async with self._write_turn:
            return await self._log_emptied(writer)

    async def _log_emptied(self, writer: UnitConnection) -> bool:
        """Empty the WAL with this process's readers held back; the caller has the turn to write."""
        async with AsyncExitStack() as readers_out:
            for _ in range(READERS_MAX):
                await readers_out.enter_async_context(self._reader_free)
            with translated():
                return await asyncio.shield(writer.unit(_empty_wal))

    async def close(self) -> None:
        """Close readers, then the writer, which checkpoints and removes the WAL."""
        self._is_open = False
        async with self._write_turn:
            for connection in [*self._readers, *([self._writer] if self._writer else [])]:
                await connection.close()
            self._readers.clear()
            self._idle_readers.clear()
            self._writer = None

    def _require_open(self) -> None:
        if not self._is_open:
            raise Unavailable("The database is closed.")

    async def _take_reader(self) -> UnitConnection:
        if self._idle_readers:
            return self._idle_readers.pop()
        with translated():
            reader = await self._started("ro", is_writer=False)
        self._readers.append(reader)
        return reader

    async def _started(self, mode: str, *, is_writer: bool) -> UnitConnection:
        connect = partial(
            _connect,
            f"{self._path.resolve().as_uri()}?mode={mode}",
            is_writer=is_writer,
            synchronous=self._synchronous,
            checkpoint_pages=self._checkpoint_pages,
        )
        connection = UnitConnection(connect, iter_chunk_size=64)
        # A process that ends without closing (its start has failed) must not wait for the thread.
        connection._thread.daemon = True  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        await connection
        return connection
