"""GroupedEngine passes the acceptance suite, and keeps what its module promises (G1 to G3)."""

import asyncio
import sqlite3
import threading

import pytest

from edge.errors import ConstraintViolated, Overloaded, StorageBusy, StorageFull, Unavailable
from edge.storage import grouped
from edge.storage.grouped import GroupedEngine
from edge.storage.sqlite import SqliteEngine
from tests.conformance.sql_engine import PUT, Planned, SqlEngineSuite


class Counted(SqliteEngine):
    """Counts transactions; the next `failures` of them end with an error instead of a commit."""

    transactions = 0
    failures = 0

    async def write(self, work):
        self.transactions += 1

        def wrapped(sql):
            result = work(sql)
            if self.failures:
                self.failures -= 1
                raise StorageBusy("planned")
            return result

        return await super().write(wrapped)


async def opened(place):
    inner = Counted(place / "main.db", synchronous="NORMAL")
    await inner.open()
    return GroupedEngine(inner), inner


def put(k):
    return lambda sql: sql.run(PUT, (k, "x"))


def put_nothing(_sql):
    return next(iter(()))


def put_and_fail(k):
    def work(sql):
        sql.run(PUT, (k, "x"))
        raise Planned

    return work


class TestGroupedEngine(SqlEngineSuite):
    async def open_engine(self, place):
        engine, self.inner = await opened(place)
        return engine

    async def test_waiting_units_share_a_transaction(self, engine):
        before = self.inner.transactions
        await asyncio.gather(*(engine.write(put(k)) for k in range(100)))
        assert self.inner.transactions - before == 1
        assert await self.keys(engine) == list(range(100))

    async def test_g1_a_unit_that_raises_is_undone_alone(self, engine):
        works = [put(1), put_and_fail(2), put(1), put(3), put_nothing, put(4)]
        answers = await asyncio.gather(
            *(engine.write(work) for work in works), return_exceptions=True
        )
        kinds = [int, Planned, ConstraintViolated, int, RuntimeError, int]
        assert [type(answer) for answer in answers] == kinds
        assert await self.keys(engine) == [1, 3, 4]

    async def test_g1_a_savepoint_left_open_or_of_the_same_name_stays_inside(self, engine):
        def untidy(sql):
            sql.run("SAVEPOINT unit_of_group")
            sql.run(PUT, (1, "x"))
            sql.run("SAVEPOINT left_open")
            sql.run(PUT, (2, "x"))

        answers = await asyncio.gather(
            engine.write(untidy), engine.write(put_and_fail(3)), engine.write(put(4)),
            return_exceptions=True,
        )  # fmt: skip
        assert isinstance(answers[1], Planned)
        assert await self.keys(engine) == [1, 2, 4]

    async def test_g2_a_commit_that_fails_is_told_to_everybody(self, engine):
        self.inner.failures = 1
        works = [put(1), put_and_fail(2), put(3)]
        answers = await asyncio.gather(
            *(engine.write(work) for work in works), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [StorageBusy] * 3
        assert await self.keys(engine) == []
        await engine.write(put(4))
        assert await self.keys(engine) == [4]

    async def test_g2_answers_come_after_the_commit(self, engine):
        async def seen(k):
            await engine.write(put(k))
            return k in await self.keys(engine)

        assert all(await asyncio.gather(*(seen(k) for k in range(40))))

    async def test_a_lost_transaction_ends_the_whole_group(self, engine):
        def lose(sql):
            sql.run(PUT, (2, "x"))
            sql.run("ROLLBACK")
            raise StorageFull("the disk failed, and SQLite rolled back")

        answers = await asyncio.gather(
            engine.write(put(1)), engine.write(lose), engine.write(put(3)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [StorageFull] * 3
        assert await self.keys(engine) == []

    async def test_a_full_disk_takes_nothing_of_the_group(self, engine):
        (pages,) = await engine.write(lambda sql: sql.one("PRAGMA page_count"))
        await engine.write(lambda sql: sql.one(f"PRAGMA max_page_count = {pages + 2}"))

        def fill(sql):
            sql.many(PUT, [(k, "x" * 1_000) for k in range(10, 500)])

        answers = await asyncio.gather(
            engine.write(put(1)), engine.write(fill), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [StorageFull] * 2
        assert await self.keys(engine) == []
        await engine.write(lambda sql: sql.one("PRAGMA max_page_count = 1000000"))
        await asyncio.gather(engine.write(put(1)), engine.write(fill))
        assert len(await self.keys(engine)) == 491

    async def test_the_driver_s_errors_are_named_for_the_unit_that_met_them(self, engine):
        def fail_to_read(sql):
            sql.run(PUT, (2, "x"))
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error

        answers = await asyncio.gather(
            engine.write(put(1)), engine.write(fail_to_read), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [int, StorageFull]
        assert await self.keys(engine) == [1]

    async def test_g3_cancelled_callers_change_nothing_for_the_others(self, engine):
        began, go_on = threading.Event(), threading.Event()

        def slow(sql):
            began.set()
            assert go_on.wait(10)
            sql.run(PUT, (0, "x"))

        running = asyncio.create_task(engine.write(slow))
        await asyncio.to_thread(began.wait, 10)
        waiting = [asyncio.create_task(engine.write(put(k))) for k in range(1, 6)]
        await asyncio.sleep(0)
        running.cancel()
        waiting[1].cancel()
        go_on.set()
        answers = await asyncio.gather(running, *waiting, return_exceptions=True)
        gone = [isinstance(answer, asyncio.CancelledError) for answer in answers]
        assert gone == [True, False, True, False, False, False]
        assert await self.keys(engine) == [0, 1, 3, 4, 5]

    async def test_the_queue_and_the_groups_are_bounded(self, engine, monkeypatch):
        monkeypatch.setattr(grouped, "UNITS_QUEUED_MAX", 6)
        monkeypatch.setattr(grouped, "GROUP_UNITS_MAX", 4)
        before = self.inner.transactions
        answers = await asyncio.gather(
            *(engine.write(put(k)) for k in range(8)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [int] * 6 + [Overloaded] * 2
        assert self.inner.transactions - before == 2

    async def test_closing_finishes_what_is_queued(self, engine, tmp_path):
        tasks = [asyncio.create_task(engine.write(put(k))) for k in range(20)]
        await asyncio.sleep(0)
        await engine.close()
        assert [task.done() for task in tasks] == [True] * 20 or await asyncio.gather(*tasks)
        with pytest.raises(Unavailable):
            await engine.write(put(99))
        again = await self.open_engine(tmp_path)
        assert await self.keys(again) == list(range(20))
        await again.close()
