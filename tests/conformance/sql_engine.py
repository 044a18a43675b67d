"""What every SqlEngine must do: subclass SqlEngineSuite and give it an engine factory.

    class TestMyEngine(SqlEngineSuite):
        async def open_engine(self, place): ...

`place` is an empty folder that one test has to itself; opening it twice opens the same database.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from edge.errors import ConstraintViolated, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

MAKE = "CREATE TABLE IF NOT EXISTS t (k INTEGER NOT NULL PRIMARY KEY, v TEXT) STRICT"
PUT = "INSERT INTO t (k, v) VALUES (?, ?)"


class Planned(Exception):
    """What a unit of work raises on purpose."""


class SqlEngineSuite:
    """The acceptance suite of edge.ports.sql.SqlEngine."""

    async def open_engine(self, place: Path) -> Any:
        """Open an engine over the database in `place`."""
        raise NotImplementedError

    @pytest.fixture
    async def engine(self, tmp_path):
        engine = await self.open_engine(tmp_path)
        await engine.write(lambda sql: sql.run(MAKE))
        yield engine
        await engine.close()

    async def keys(self, engine):
        found = await engine.read(lambda sql: sql.all("SELECT k FROM t ORDER BY k"))
        return [k for (k,) in found]

    async def test_a_unit_commits_and_returns_what_its_work_returns(self, engine):
        def work(sql):
            changed = sql.run(PUT, (1, "a"))
            sql.many(PUT, [(2, None), (3, "\U0001f600")])
            return changed, sql.one("SELECT count(*) FROM t"), sql.one("SELECT 1 WHERE 0")

        assert await engine.write(work) == (1, (3,), None)
        rows = await engine.read(lambda sql: sql.all("SELECT k, v FROM t ORDER BY k"))
        assert rows == [(1, "a"), (2, None), (3, "\U0001f600")]

    async def test_a_unit_that_raises_changes_nothing(self, engine):
        def work(sql):
            sql.run(PUT, (1, "a"))
            sql.run("CREATE TABLE other (k INTEGER) STRICT")
            raise Planned

        with pytest.raises(Planned):
            await engine.write(work)
        assert await self.keys(engine) == []
        names = await engine.read(lambda sql: sql.all("SELECT name FROM sqlite_schema"))
        assert ("other",) not in names
        await engine.write(lambda sql: sql.run(PUT, (2, "b")))
        assert await self.keys(engine) == [2]

    async def test_a_cancelled_caller_leaves_whole_units(self, engine):
        def work(sql):
            for k in range(200):
                sql.run(PUT, (k, "x"))

        task = asyncio.create_task(engine.write(work))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.write(lambda sql: sql.run(PUT, (1_000, "after")))
        assert len(await self.keys(engine)) in (1, 201)

    async def test_units_of_work_take_turns(self, engine):
        await engine.write(lambda sql: sql.run(PUT, (0, "0")))

        def increment(sql):
            (before,) = sql.one("SELECT v FROM t WHERE k = 0")
            sql.run("UPDATE t SET v = ? WHERE k = 0", (str(int(before) + 1),))

        await asyncio.gather(*(engine.write(increment) for _ in range(30)))
        assert await engine.read(lambda sql: sql.one("SELECT v FROM t WHERE k = 0")) == ("30",)

    async def test_a_read_sees_one_snapshot(self, engine):
        loop = asyncio.get_running_loop()

        def work(sql):
            first = sql.one("SELECT count(*) FROM t")
            write = engine.write(lambda writer: writer.run(PUT, (1, "a")))
            asyncio.run_coroutine_threadsafe(write, loop).result(10)
            return first, sql.one("SELECT count(*) FROM t")

        assert await engine.read(work) == ((0,), (0,))
        assert await self.keys(engine) == [1]

    async def test_a_reader_cannot_write(self, engine):
        with pytest.raises(Exception, match=r"(?i)read|attempt"):
            await engine.read(lambda sql: sql.run(PUT, (1, "a")))
        assert await self.keys(engine) == []

    @pytest.mark.parametrize("method", ["all", "run", "many", "one"])
    async def test_a_broken_constraint_is_told_by_every_method(self, engine, method):
        def work(sql):
            sql.run(PUT, (1, "a"))
            if method == "many":
                sql.many(PUT, [(2, "b"), (1, "again")])
            else:
                getattr(sql, method)(PUT, (1, "again"))

        with pytest.raises(ConstraintViolated):
            await engine.write(work)
        assert await self.keys(engine) == []

    async def test_savepoints_undo_their_part_only(self, engine):
        def work(sql):
            sql.run(PUT, (1, "a"))
            sql.run("SAVEPOINT inner_part")
            sql.run(PUT, (2, "b"))
            sql.run("ROLLBACK TO inner_part")
            sql.run("RELEASE inner_part")
            sql.run("SAVEPOINT inner_part")
            sql.run(PUT, (3, "c"))
            sql.run("RELEASE inner_part")

        await engine.write(work)
        assert await self.keys(engine) == [1, 3]

    async def test_readers_work_while_a_unit_writes(self, engine):
        loop = asyncio.get_running_loop()

        def work(sql):
            sql.run(PUT, (1, "a"))
            read = engine.read(lambda reader: reader.one("SELECT count(*) FROM t"))
            return asyncio.run_coroutine_threadsafe(read, loop).result(10)

        assert await engine.write(work) == (0,), "what is not committed is not seen"
        assert await self.keys(engine) == [1]

    async def test_many_readers_at_once(self, engine):
        await engine.write(lambda sql: sql.many(PUT, [(k, "x") for k in range(50)]))
        counts = await asyncio.gather(
            *(engine.read(lambda sql: sql.one("SELECT count(*) FROM t")) for _ in range(40))
        )
        assert set(counts) == {(50,)}

    async def test_it_closes_and_opens_again(self, engine, tmp_path):
        await engine.write(lambda sql: sql.run(PUT, (1, "a")))
        await self.keys(engine)
        await engine.close()
        for call in (engine.read, engine.write):
            with pytest.raises(Unavailable):
                await call(lambda sql: sql.all("SELECT 1"))
        again = await self.open_engine(tmp_path)
        assert await self.keys(again) == [1]
        await again.close()
        await engine.close()

    async def test_values_go_through_unchanged(self, engine):
        values = [2**53 - 1, -(2**63), 0.1, 1e308, 5e-324, "", "é\x01", b"\x00\xff", None]

        def work(sql):
            sql.run("CREATE TABLE v (x ANY) STRICT")
            sql.many("INSERT INTO v (x) VALUES (?)", [(value,) for value in values])

        await engine.write(work)
        found = await engine.read(lambda sql: sql.all("SELECT x FROM v ORDER BY rowid"))
        assert [value for (value,) in found] == values
        assert [type(value) for (value,) in found] == [type(value) for value in values]
