"""Group commit over another engine: units of work that wait at the same time share one COMMIT.

A COMMIT waits for the disk, a unit of a few rows does not. Whatever has queued up while one group
was being committed is the next group.

Invariants
  G1  a unit that raises is undone alone; the others of its group commit
  G2  nobody is answered before the COMMIT; when that fails, everybody in the group is told so
  G3  a caller that goes away changes nothing for the others
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, cast

from edge.errors import EdgeError, Overloaded, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.ports.sql import SqlEngine, SqlReader, SqlWriter

T = TypeVar("T")

GROUP_UNITS_MAX: Final = 256
"""The first unit of a group waits for the last: at some 20 microseconds each, 5 ms at most."""
UNITS_QUEUED_MAX: Final = 4_096
"""Sixteen groups: what queues behind those would wait longer than its client does."""


@dataclass(frozen=True, slots=True)
class _Queued:
    """A unit of work, and where its caller waits."""

    work: Callable[[SqlWriter], Any]
    answer: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a unit returned, or raised."""

    result: Any = None
    error: Exception | None = None


class GroupedEngine:
    """An SqlEngine whose concurrent writes share transactions."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine
        self._queue: deque[_Queued] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._is_open = True

    async def read(self, work: Callable[[SqlReader], T]) -> T:
        """Run `work` on a snapshot."""
        return await self._engine.read(work)

    async def write(self, work: Callable[[SqlWriter], T]) -> T:
        """Run `work` in a transaction with others; raises Overloaded when too many wait."""
        if not self._is_open:
            raise Unavailable("The database is closed.")
        if len(self._queue) >= UNITS_QUEUED_MAX:
            raise Overloaded("Too many writes are waiting.")
        answer = cast("asyncio.Future[T]", asyncio.get_running_loop().create_future())
        self._queue.append(_Queued(work, answer))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return await answer

    async def scrub(self) -> bool:
        """Scrub the engine; groups wait."""
        return await self._engine.scrub()

    async def close(self) -> None:
        """Finish what is queued, then close the engine."""
        self._is_open = False
        if self._runner is not None:
            await asyncio.shield(self._runner)
        await self._engine.close()

    async def _run(self) -> None:
        group: list[_Queued] = []
        try:
            while self._queue:
                group = self._next_group()
                if group:
                    await self._commit(group)
        finally:
            self._runner = None
            # Nothing is left here, except when the loop itself stops.
            for queued in (*group, *self._queue):
                if not queued.answer.done():
                    queued.answer.set_exception(Unavailable("The node is stopping."))
            self._queue.clear()

    def _next_group(self) -> list[_Queued]:
        count = min(len(self._queue), GROUP_UNITS_MAX)
        taken = [self._queue.popleft() for _ in range(count)]
        return [queued for queued in taken if not queued.answer.done()]

    async def _commit(self, group: list[_Queued]) -> None:
        try:
            works = [queued.work for queued in group]
            outcomes = await self._engine.write(partial(_run_group, works))
        except Exception as error:  # noqa: BLE001  (it is each caller's, G2)
            outcomes = [_Outcome(error=error) for _ in group]
        else:
            outcomes = [await self._translated(outcome) for outcome in outcomes]
        for queued, outcome in zip(group, outcomes, strict=True):
            if queued.answer.done():
                continue
            if outcome.error is None:
                queued.answer.set_result(outcome.result)
            else:
                queued.answer.set_exception(outcome.error)

    async def _translated(self, outcome: _Outcome) -> _Outcome:
        """Let the engine name a failure: it alone knows its driver's errors (a full disk)."""
        if outcome.error is None or isinstance(outcome.error, EdgeError):
            return outcome
        try:
            await self._engine.write(partial(_raise, outcome.error))
        except Exception as error:  # noqa: BLE001  (it is the caller's)
            return _Outcome(error=error)
        return outcome


def _run_group(works: Sequence[Callable[[SqlWriter], Any]], sql: SqlWriter) -> list[_Outcome]:
    return [_run_unit(work, sql) for work in works]


def _run_unit(work: Callable[[SqlWriter], Any], sql: SqlWriter) -> _Outcome:
    sql.run("SAVEPOINT unit_of_group")
    try:
        result = work(sql)
    except Exception as error:  # noqa: BLE001  (it is the caller's, G1)
        try:
            sql.run("ROLLBACK TO unit_of_group")
            sql.run("RELEASE unit_of_group")
        except Exception:  # noqa: BLE001  (the savepoint is gone: so is the transaction)
            # SQLite has rolled back everything (a failing disk): this ends the whole group, and
            # no later unit runs outside a transaction.
            raise error from None
        return _Outcome(error=_tellable(error))
    sql.run("RELEASE unit_of_group")
    return _Outcome(result=result)


def _tellable(error: Exception) -> Exception:
    """Return an error that a future can carry: StopIteration is the one that none can."""
    if isinstance(error, StopIteration):
        return RuntimeError("a unit of work raised StopIteration")
    return error


def _raise(error: Exception, _sql: SqlWriter) -> NoReturn:
    raise error
