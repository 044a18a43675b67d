"""The libSQL engine: units run on a working copy, commits are batches of a libSQL server.

One batch per commit, one writer per database, and every batch carries the primary's epoch. The
working copy costs a second file and carries every statement out twice; in return reads and merges
run at the speed of a file, and a group commit is one round trip (docs/adr/0014).

Invariants
  L1  nothing is answered before the server has committed it; the copy commits after the server
  L2  a batch whose answer was lost is never guessed at: the fence tells whether it was carried out
  L3  once the fence is lost, this engine commits nothing more
  L4  a copy that is not level with the server is made level before the next unit of work
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from edge.errors import StorageBusy, Unavailable
from edge.ports.tracing import NO_TRACER
from edge.storage.recorded import RecordingUnit, Statement
from edge.storage.sqld import (
    COUNT_UP,
    FENCE_ROW,
    FENCE_TABLE,
    TAKE_OVER,
    Fence,
    FenceLost,
)
from edge.storage.working_copy import WorkingCopy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge.ports.sql import SqlReader, SqlWriter
    from edge.ports.tracing import Tracer
    from edge.storage.recorded import Record
    from edge.storage.sqld import SqldDatabase, SqldServer

T = TypeVar("T")

DOUBT_SECONDS_MAX: Final = 8.0
"""How long a commit whose answer was lost is looked for: a server that was killed is back by then,
and the phone has not given up yet."""
DOUBT_DELAY_S: Final = 0.05
DOUBT_DELAY_S_MAX: Final = 1.0
_log = structlog.stdlib.get_logger(__name__)


class LibsqlEngine:
    """One database of a libSQL server behind the SqlEngine port, written by one primary."""

    def __init__(
        self,
        path: Path,
        server: SqldDatabase,
        admin: SqldServer,
        *,
        server_file: Path,
        epoch: Callable[[], int],
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._copy = WorkingCopy(path)
        self._server = server
        self._server_file = server_file
        self._admin = admin
        self._epoch = epoch
        self._tracer = tracer
        self._turn = asyncio.Lock()
        self._fence = Fence(0, 0)
        self._is_level = False
        self._is_equal = True
        """Whether the last commit changed as many rows at the server as in the copy."""
        self._doubt: list[Statement] | None = None
        self._is_lost = False
        self._is_paused = False
        self.rebuilds = 0
        """How often the working copy was made anew from the server's file."""

    async def open(self) -> None:
        """Open the copy and make it level; raises Unavailable, FenceLost."""
        await self._copy.open()
        await self._admin.create(self._server.namespace)
        async with self._turn:
            await self._level()

    async def read(self, work: Callable[[SqlReader], T]) -> T:
        """Run `work` on a snapshot of the copy: it never holds what the server has not."""
        return await self._copy.read(work)

    async def write(self, work: Callable[[SqlWriter], T]) -> T:
        """Run `work` and commit it at the server.

        Raises FenceLost and StorageFull, or Unavailable when the server does not answer; then the
        commit may still turn out to have happened.
        """
        return await asyncio.shield(self._write(work))

    async def scrub(self) -> bool:
        """Leave no trace of deleted content in the copy's file and in the server's.

        sqld carries out no VACUUM: its database is dropped and filled again from the copy, and
        replicas fetch it again. Whoever is killed in between fills it at the next start.
        """
        async with self._turn:
            if self._is_lost:
                raise FenceLost("Another primary has taken over.")
            if not self._is_level:
                await self._level()
            is_empty = await self._copy.scrub()
            self._is_level = False
            await self._admin.destroy(self._server.namespace)
            await self._admin.create(self._server.namespace)
            await self._level()
            return is_empty

    async def fence_out(self, epoch: int) -> None:
        """Give the database an epoch that is not ours: nothing is committed here any more (L3)."""
        async with self._turn:
            self._is_lost = True
            try:
                await self._server.commit([Statement(TAKE_OVER, (epoch, epoch))])
            finally:
                self._is_level = False

    async def commits(self) -> int:
        """Return how many batches were committed; the same number means the same content."""
        async with self._turn:
            return self._fence.commits

    def pause(self, *, is_paused: bool) -> None:
        """Refuse every unit of work from now on, or no more."""
        self._is_paused = is_paused

    async def close(self) -> None:
        """Close the copy and the connections."""
        await self._copy.close()
        await self._server.close()

    async def _write(self, work: Callable[[SqlWriter], T]) -> T:
        async with self._turn:
            if self._is_lost:
                raise FenceLost("Another primary has taken over.")
            if self._is_paused:
                raise Unavailable("The primary is being handed over.")
            if not self._is_level:
                await self._level()
            result = await self._copy.write_through(partial(self._counted, work), self._commit)
            self._is_level = self._is_equal
            return result

    def _counted(self, work: Callable[[SqlWriter], T], sql: SqlWriter) -> T:
        """Run a unit and, if it has written, count the commit in the copy too."""
        result = work(sql)
        assert isinstance(sql, RecordingUnit), "a working copy records its units"
        if sql.record.statements:
            sql.run(COUNT_UP, (self._fence.epoch, self._fence.commits))
        return result

    async def _commit(self, record: Record) -> None:
        """Commit a record at the server; on return it is carried out there, on raise it is not.

        Except for Unavailable: then it is in doubt, and settled before the next unit (L2). The copy
        counts as not level until it has committed too.
        """
        # The fence comes first: a batch of an old epoch fails before it has done anything.
        statements = [record.statements[-1], *record.statements[:-1]]
        self._is_level = False
        database = self._server.namespace
        with self._tracer.span("sqld batch", database=database, statements=len(statements)) as span:
            try:
                rows = await self._server.commit(statements)
            except FenceLost:
                raise
            except Unavailable:
                span.put(outcome="doubt")
                self._doubt = statements
                await self._settled(statements)
                self._doubt = None
                rows = None
        self._fence = Fence(self._fence.epoch, self._fence.commits + 1)
        self._is_equal = rows is None or rows == record.rows or record.has_schema
        if not self._is_equal:
            _log.error("working-copy-differs", changed=record.rows, changed_at_server=rows)

    async def _settled(self, statements: list[Statement]) -> None:
        """Find out whether a batch was carried out, and see to it that it is (L2)."""
        expected = self._fence
        deadline = asyncio.get_running_loop().time() + DOUBT_SECONDS_MAX
        delay_s = DOUBT_DELAY_S
        while True:
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, DOUBT_DELAY_S_MAX)
            try:
                found = await self._server.fence()
                if found == expected:
                    await self._server.commit(statements)
                    return
            except Unavailable as error:
                if isinstance(error, FenceLost) or asyncio.get_running_loop().time() > deadline:
                    raise
                continue
            if found != Fence(expected.epoch, expected.commits + 1):
                raise FenceLost("Another primary has taken over this database.")
            return

    async def _level(self) -> None:
        """Make the copy equal to the server (L4), and the server ours."""
        epoch = self._epoch()
        found = await self._server.fence()
        if found is None:
            await self._found(epoch)
            return
        if found.epoch > epoch:
            self._is_lost = True
            raise FenceLost("Another primary has taken over this database.")
        own = await self._copy.fence()
        doubt, self._doubt = self._doubt, None
        if doubt and own and found == Fence(own.epoch, own.commits + 1):
            await self._copy.replay(doubt)
            own = found
        if own != found or not self._is_equal:
            await self._rebuild()
            self._is_equal = True
            own = await self._copy.fence()
            if own != found:
                raise StorageBusy("The SQL server's file is not up to date yet.")
        if found.epoch < epoch:
            taken = Statement(TAKE_OVER, (epoch, epoch))
            await self._server.commit([taken])
            await self._copy.replay([taken])
            found = Fence(epoch, found.commits + 1)
        self._fence = found
        self._is_level = True

    async def _found(self, epoch: int) -> None:
        """Fill an empty database with what the copy holds; a half-filled one is emptied first."""
        for kind, name in await self._server.rows(
            "SELECT type, name FROM sqlite_master WHERE type IN ('table', 'view') "
            "AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'libsql_%'"
        ):
            await self._server.commit([Statement(f'DROP {kind} "{name}"')])
        await self._copy.upload(self._send)
        made = [FENCE_TABLE, Statement(FENCE_ROW, (epoch,))]
        await self._copy.replay([Statement("DROP TABLE IF EXISTS sk_fence"), *made])
        await self._server.commit(made)
        self._fence = Fence(epoch, 0)
        self._is_level = True

    async def _send(self, statements: list[Statement]) -> None:
        if statements:
            await self._server.commit(statements)

    async def _rebuild(self) -> None:
        if not self._server_file.is_file():
            raise Unavailable("The SQL server's file cannot be read from here.")
        _log.warning("working-copy-rebuilt", file=self._server_file.name)
        await self._copy.replace_by(self._server_file)
        self.rebuilds += 1
