"""A database that somebody else keeps: the file of a sqld replica, read and never written.

sqld replaces the file when the primary's log began anew: readers of the old one are closed, and
until the new one is whole nothing is served from it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from edge.errors import Unavailable
from edge.storage.sqlite import SqliteEngine, UnitConnection, in_snapshot, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from edge.ports.sql import SqlReader, SqlWriter

T = TypeVar("T")

INODE_AGE_S: Final = 0.01
"""A file that was replaced is noticed after at most this long: one look per read costs too much."""


class ReplicaEngine(SqliteEngine):
    """A replica's file behind the SqlEngine port; every write raises Unavailable."""

    def __init__(
        self, path: Path, *, on_replaced: Callable[[UnitConnection], None] | None = None
    ) -> None:
        """`on_replaced` is given a reader of each file that was replaced, and closes it."""
        super().__init__(path, is_writer=False)
        self._on_replaced = on_replaced
        self._handed_on = 0
        self._file = str(path)
        self._inode = 0
        self._looked_at = 0.0
        self._inodes: dict[UnitConnection, int] = {}

    async def read(self, work: Callable[[SqlReader], T]) -> T:
        """Run `work` on one snapshot of the file as it is now; raises Unavailable without one."""
        self._require_open()
        async with self._reader_free:
            with translated(), _being_copied():
                await self._retire_old()
                reader = await self._take_reader()
                self._inodes.setdefault(reader, self._inode)
                try:
                    return await reader.unit(partial(in_snapshot, work))
                finally:
                    self._idle_readers.append(reader)

    async def write(self, work: Callable[[SqlWriter], T]) -> T:
        """Refuse: only the primary writes."""
        raise Unavailable("Only the primary writes.")

    def stamp(self) -> tuple[int, ...]:
        """Return a value that changes with every commit that arrives; costs two system calls.

        A commit is seen a moment after its log was written, and times of files are coarse: so the
        value changes again, whenever the log's age has doubled.
        """
        try:
            data = self._path.stat()
        except OSError:
            return (0, 0, 0)
        try:
            log = self._path.with_name(self._path.name + "-wal").stat()
        except OSError:
            return (data.st_ino, data.st_mtime_ns, 0)
        age_ns = time.time_ns() - log.st_mtime_ns
        return (data.st_ino, log.st_mtime_ns, log.st_size, age_ns.bit_length())

    async def _retire_old(self) -> None:
        """Close idle readers of a file that has been replaced; looks every INODE_AGE_S."""
        now = time.monotonic()
        if now - self._looked_at < INODE_AGE_S:
            return
        self._looked_at = now
        try:
            self._inode = os.stat(self._file).st_ino  # noqa: PTH116  (a third of Path.stat's time)
        except OSError:
            self._looked_at = 0.0
            raise Unavailable("The replica has not been copied yet.") from None
        while self._idle_readers and self._inodes[self._idle_readers[-1]] != self._inode:
            reader = self._idle_readers.pop()
            self._readers.remove(reader)
            inode = self._inodes.pop(reader)
            if self._on_replaced is None or inode == self._handed_on:
                await reader.close()
            else:
                self._handed_on = inode
                self._on_replaced(reader)


@contextmanager
def _being_copied() -> Generator[None]:
    """Name what reading a file that is being replaced can meet."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL):
            raise
        raise Unavailable("The replica is being copied, or older than this program.") from error
