"""LibsqlEngine passes the acceptance suite on a real sqld, and keeps its promises L1 to L4."""

import asyncio
import signal
import sqlite3
from contextlib import closing

import pytest

from edge.errors import StorageBusy, Unavailable
from edge.storage.libsql import LibsqlEngine
from edge.storage.replica import ReplicaEngine
from edge.storage.sqld import FenceLost, SqldDatabase, SqldServer
from tests.conformance.sql_engine import MAKE, PUT, SqlEngineSuite
from tests.conformance.sqld_process import Sqld

NAMESPACE = "t-main"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Sqld(tmp_path_factory.mktemp("sqld") / "primary") as server:
        yield server


@pytest.fixture
def sqld(tmp_path):
    with Sqld(tmp_path / "primary") as server:
        yield server


async def opened(server, copy, *, namespace=NAMESPACE, epoch=1):
    engine = LibsqlEngine(
        copy,
        SqldDatabase(server.http, namespace),
        SqldServer(server.admin),
        server_file=server.file(namespace),
        epoch=lambda: epoch,
    )
    try:
        await engine.open()
    except BaseException:
        await engine.close()
        raise
    return engine


def content(path):
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        tables = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            )
        ]
        return {t: connection.execute(f"SELECT * FROM {t} ORDER BY 1").fetchall() for t in tables}


class TestLibsqlEngine(SqlEngineSuite):
    @pytest.fixture(autouse=True)
    def server(self, shared):
        self.shared = shared

    async def open_engine(self, place):
        return await opened(self.shared, place / "copy.db", namespace=f"t-{place.name[-40:]}")

    async def test_scrub(self, engine):
        canary = "erased-canary"
        await engine.write(lambda sql: sql.many(PUT, [(k, canary) for k in range(3_000)]))
        await engine.write(lambda sql: sql.run("DELETE FROM t WHERE k > 0"))
        await engine.write(lambda sql: sql.run("UPDATE t SET v = 'kept'"))
        assert await engine.scrub()
        await engine.write(lambda sql: sql.run(PUT, (7, "new")))
        assert await self.keys(engine) == [0, 7]
        for path in self.shared.folder.rglob("*"):
            if path.is_file() and path.parent.name.endswith("test_scrub0"):
                assert canary.encode() not in path.read_bytes(), path


async def test_the_copy_and_the_server_hold_the_same(sqld, tmp_path):
    engine = await opened(sqld, tmp_path / "copy.db")
    await engine.write(lambda sql: sql.run(MAKE))

    def work(sql):
        sql.many(PUT, [(k, f"row {k}") for k in range(1_700)])
        sql.run("SAVEPOINT nested")
        sql.run("DELETE FROM t WHERE k < 1000")
        sql.run("ROLLBACK TO nested")
        sql.run("RELEASE nested")
        returned = sql.all("UPDATE t SET v = 'x' WHERE k IN (1, 2) RETURNING k, v")
        sql.one("DELETE FROM t WHERE k = 3 RETURNING v")
        return returned

    assert await engine.write(work) == [(1, "x"), (2, "x")]
    await engine.close()
    here, there = content(tmp_path / "copy.db"), content(sqld.file(NAMESPACE))
    assert here == there
    assert len(here["t"]) == 1_699
    assert here["sk_fence"] == [(1, 1, 2)]


async def test_a_standalone_file_becomes_the_primary_s(sqld, tmp_path):
    path = tmp_path / "copy.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(MAKE)
        connection.execute("CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, v BLOB)")
        connection.execute("CREATE TABLE seen (n INTEGER)")
        connection.execute(
            "CREATE TRIGGER see AFTER INSERT ON t BEGIN INSERT INTO seen VALUES (new.k); END"
        )
        connection.executemany(PUT, [(k, "\U0001f600") for k in range(1_234)])
        connection.executemany("INSERT INTO log (v) VALUES (?)", [(b"\x00\xff",)] * 3)
        connection.execute("DELETE FROM log WHERE id = 3")
        connection.commit()
    engine = await opened(sqld, path)
    await engine.write(lambda sql: sql.run(PUT, (5_000, "new")))
    await engine.write(lambda sql: sql.run("INSERT INTO log (v) VALUES (x'01')"))
    await engine.close()
    here, there = content(path), content(sqld.file(NAMESPACE))
    assert here == there
    assert len(here["seen"]) == 1_235
    assert here["log"][-1] == (4, b"\x01")


async def test_a_copy_that_is_behind_is_made_anew(sqld, tmp_path):
    engine = await opened(sqld, tmp_path / "copy.db")
    await engine.write(lambda sql: sql.run(MAKE))
    await engine.close()
    other = await opened(sqld, tmp_path / "other.db")
    await other.write(lambda sql: sql.run(PUT, (1, "a")))
    await other.close()
    engine = await opened(sqld, tmp_path / "copy.db")
    assert await engine.read(lambda sql: sql.all("SELECT k FROM t")) == [(1,)]
    assert engine.rebuilds == 1
    await engine.close()


async def test_two_writers_of_one_database_never_both_commit(sqld, tmp_path):
    first = await opened(sqld, tmp_path / "first.db")
    await first.write(lambda sql: sql.run(MAKE))
    second = await opened(sqld, tmp_path / "second.db", epoch=2)
    await second.write(lambda sql: sql.run(PUT, (1, "second")))
    for k in (2, 3):
        with pytest.raises(FenceLost):
            await first.write(lambda sql, k=k: sql.run(PUT, (k, "first")))
    await second.write(lambda sql: sql.run(PUT, (4, "second")))
    assert content(sqld.file(NAMESPACE))["t"] == [(1, "second"), (4, "second")]
    with pytest.raises(FenceLost):
        await opened(sqld, tmp_path / "third.db", epoch=1)
    await first.close()
    await second.close()


async def test_an_engine_that_is_fenced_out_commits_nothing(sqld, tmp_path):
    engine = await opened(sqld, tmp_path / "copy.db")
    await engine.write(lambda sql: sql.run(MAKE))
    await engine.fence_out(7)
    with pytest.raises(FenceLost):
        await engine.write(lambda sql: sql.run(PUT, (1, "a")))
    await engine.close()
    with pytest.raises(FenceLost):
        await opened(sqld, tmp_path / "copy.db", epoch=6)
    engine = await opened(sqld, tmp_path / "copy.db", epoch=8)
    await engine.write(lambda sql: sql.run(PUT, (1, "a")))
    await engine.close()


async def test_a_commit_whose_answer_was_lost_is_looked_up(sqld, tmp_path):
    engine = await opened(sqld, tmp_path / "copy.db")
    await engine.write(lambda sql: sql.run(MAKE))
    commit, losses = engine._server.commit, ["after", "before"]

    async def lossy(statements):
        if losses and losses.pop() == "before":
            raise Unavailable("planned: lost on the way there")
        changed = await commit(statements)
        if len(losses) == 0 and changed:
            losses.append("")
            losses.clear()
        return changed

    async def lost_answer(statements):
        await commit(statements)
        engine._server.commit = commit
        raise Unavailable("planned: lost on the way back")

    engine._server.commit = lossy
    await engine.write(lambda sql: sql.run(PUT, (1, "resent")))
    engine._server.commit = lost_answer
    await engine.write(lambda sql: sql.run(PUT, (2, "found")))
    await engine.close()
    assert content(tmp_path / "copy.db") == content(sqld.file(NAMESPACE))
    assert [k for k, _ in content(sqld.file(NAMESPACE))["t"]] == [1, 2]


async def test_in_doubt_until_the_server_is_back(sqld, tmp_path, monkeypatch):
    monkeypatch.setattr("edge.storage.libsql.DOUBT_SECONDS_MAX", 0.2)
    engine = await opened(sqld, tmp_path / "copy.db")
    await engine.write(lambda sql: sql.run(MAKE))
    commit = engine._server.commit

    async def lost(statements):
        await commit(statements)
        sqld.kill()
        engine._server.commit = commit
        raise Unavailable("planned")

    engine._server.commit = lost
    with pytest.raises(Unavailable):
        await engine.write(lambda sql: sql.run(PUT, (1, "in doubt")))
    with pytest.raises(Unavailable):
        await engine.write(lambda sql: sql.run(PUT, (2, "while away")))
    assert await engine.read(lambda sql: sql.all("SELECT k FROM t")) == [], "not answered, not seen"
    sqld.start()
    await engine.write(lambda sql: sql.run(PUT, (3, "back")))
    assert await engine.read(lambda sql: sql.all("SELECT k FROM t")) == [(1,), (3,)]
    await engine.close()
    assert content(tmp_path / "copy.db") == content(sqld.file(NAMESPACE))


async def test_a_server_that_hangs_does_not_hang_the_node(sqld, tmp_path, monkeypatch):
    monkeypatch.setattr("edge.storage.sqld.ANSWER_SECONDS_MAX", 0.3)
    monkeypatch.setattr("edge.storage.libsql.DOUBT_SECONDS_MAX", 0.3)
    engine = await opened(sqld, tmp_path / "copy.db")
    await engine.write(lambda sql: sql.run(MAKE))
    sqld.signal(signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable):
            await engine.write(lambda sql: sql.run(PUT, (1, "a")))
    finally:
        sqld.signal(signal.SIGCONT)
    await engine.write(lambda sql: sql.run(PUT, (2, "b")))
    await engine.close()
    there = content(sqld.file(NAMESPACE))
    assert content(tmp_path / "copy.db") == there
    assert (2, "b") in there["t"]


async def test_a_failing_statement_at_the_server_is_told_and_the_copy_made_anew(sqld, tmp_path):
    engine = await opened(sqld, tmp_path / "copy.db")
    await engine.write(lambda sql: sql.run(MAKE))
    await engine._copy.write(lambda sql: sql.run("CREATE TABLE apart (k INTEGER)"))
    with pytest.raises(StorageBusy):
        await engine.write(lambda sql: sql.run("INSERT INTO apart VALUES (1)"))
    await engine._copy.write(lambda sql: sql.run("DROP TABLE apart"))
    await engine.write(lambda sql: sql.run(PUT, (1, "a")))
    await engine.close()
    assert content(tmp_path / "copy.db") == content(sqld.file(NAMESPACE))


async def test_a_copy_that_differs_is_found_out_and_made_anew(sqld, tmp_path):
    engine = await opened(sqld, tmp_path / "copy.db")
    await engine.write(lambda sql: sql.run(MAKE))
    await engine._copy.write(lambda sql: sql.run(PUT, (9, "apart")))
    await engine.write(lambda sql: sql.run("UPDATE t SET v = 'both'"))
    await engine.write(lambda sql: sql.run(PUT, (1, "a")))
    await engine.close()
    assert engine.rebuilds == 1
    assert content(tmp_path / "copy.db") == content(sqld.file(NAMESPACE))


async def test_a_replica_follows_and_survives_a_new_log(sqld, tmp_path):
    engine = await opened(sqld, tmp_path / "copy.db")
    await engine.write(lambda sql: sql.run(MAKE))
    with Sqld(tmp_path / "replica", primary=sqld.grpc) as replica:
        waking = SqldDatabase(replica.http, NAMESPACE)
        reader = ReplicaEngine(replica.file(NAMESPACE))
        await reader.open()

        async def reaches(count):
            async with asyncio.timeout(20):
                while True:
                    try:
                        await waking.rows("SELECT 1")
                        found = await reader.read(lambda sql: sql.one("SELECT count(*) FROM t"))
                    except Unavailable:
                        found = None
                    if found == (count,):
                        return
                    await asyncio.sleep(0.01)

        await reaches(0)
        before = reader.stamp()
        await engine.write(lambda sql: sql.run(PUT, (1, "a")))
        await reaches(1)
        assert reader.stamp() != before
        with pytest.raises(Unavailable):
            await reader.write(lambda sql: sql.run(PUT, (2, "b")))
        sqld.kill()
        sqld.start()
        await engine.write(lambda sql: sql.run(PUT, (2, "b")))
        await reaches(2)
        await reader.close()
        await waking.close()
    await engine.close()
