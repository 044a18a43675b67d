"""SqliteEngine passes the acceptance suite, and types what only a file can go through."""

import subprocess
import sys
import textwrap

import pytest

from edge.errors import StorageBusy, StorageFull, Unavailable
from edge.storage import sqlite
from edge.storage.sqlite import SqliteEngine
from tests.conformance.sql_engine import MAKE, PUT, SqlEngineSuite

HOLD = textwrap.dedent(
    """
    import sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    print("held", flush=True)
    sys.stdin.readline()
    connection.execute("ROLLBACK")
    """
)


async def opened(place, **options):
    engine = SqliteEngine(place / "main.db", **options)
    await engine.open()
    return engine


class TestSqliteEngine(SqlEngineSuite):
    async def open_engine(self, place):
        return await opened(place, synchronous="NORMAL")

    async def test_a_full_disk_takes_nothing(self, engine):
        await engine.write(lambda sql: sql.run(PUT, (1, "a")))
        (pages,) = await engine.write(lambda sql: sql.one("PRAGMA page_count"))
        await engine.write(lambda sql: sql.one(f"PRAGMA max_page_count = {pages + 2}"))

        def fill(sql):
            sql.many(PUT, [(k, "x" * 1_000) for k in range(10, 500)])

        with pytest.raises(StorageFull) as caught:
            await engine.write(fill)
        assert caught.value.is_retryable
        assert await self.keys(engine) == [1]
        await engine.write(lambda sql: sql.one("PRAGMA max_page_count = 1000000"))
        await engine.write(fill)
        assert len(await self.keys(engine)) == 491

    async def test_another_process_that_writes_makes_it_busy(self, tmp_path, monkeypatch):
        monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 50)
        engine = await opened(tmp_path)
        await engine.write(lambda sql: sql.run(MAKE))
        with subprocess.Popen(  # noqa: ASYNC220  (it holds a lock while this test runs)
            [sys.executable, "-c", HOLD, str(tmp_path / "main.db")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as holder:  # fmt: skip
            assert holder.stdin is not None
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(StorageBusy) as caught:
                await engine.write(lambda sql: sql.run(PUT, (1, "a")))
            assert caught.value.is_retryable
            assert await self.keys(engine) == [], "reading goes on"
            holder.stdin.write("\n")
            holder.stdin.flush()
            holder.wait(10)
        await engine.write(lambda sql: sql.run(PUT, (1, "a")))
        assert await self.keys(engine) == [1]
        await engine.close()

    async def test_a_reading_engine_follows_and_never_writes(self, engine, tmp_path):
        reader = await opened(tmp_path, is_writer=False)
        await engine.write(lambda sql: sql.run(PUT, (1, "a")))
        assert await self.keys(reader) == [1]
        with pytest.raises(Unavailable):
            await reader.write(lambda sql: sql.run(PUT, (2, "b")))
        await reader.close()

    async def test_closing_leaves_one_file(self, engine, tmp_path):
        await engine.write(lambda sql: sql.run(PUT, (1, "a")))
        await self.keys(engine)
        await engine.close()
        assert [path.name for path in tmp_path.iterdir()] == ["main.db"]

    async def test_the_writer_syncs_as_it_was_told(self, tmp_path):
        for name, level in (("FULL", 2), ("NORMAL", 1)):
            engine = await opened(tmp_path, synchronous=name)
            assert await engine.write(lambda sql: sql.one("PRAGMA synchronous")) == (level,)
            assert await engine.write(lambda sql: sql.one("PRAGMA journal_mode")) == ("wal",)
            await engine.close()
