"""Tenants as files: erased with everything beside them, and nothing else."""

import pytest

from core.errors import IdentifierError
from core.ids import TenantId
from edge.storage.high_water import HighWaterFiles
from edge.storage.sqlite import SqliteEngine
from edge.storage.tenants import TenantFiles

NORTH = TenantId("north")


async def test_erasing_takes_every_file_of_one_tenant(tmp_path):
    files = TenantFiles(tmp_path, synchronous="NORMAL")
    for tenant in (NORTH, TenantId("north2")):
        engine = await files.open(tenant)
        await engine.write(lambda sql: sql.run("CREATE TABLE t (x)"))
        await engine.close()
        (tmp_path / f"{tenant}.db-wal").touch()
        (tmp_path / f"{tenant}.db-shm").touch()
    files.erase(NORTH)
    files.erase(NORTH)
    assert files.existing() == ["north2"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "north2.db", "north2.db-wal", "north2.db-shm",
    }  # fmt: skip


def test_only_a_tenant_can_be_erased(tmp_path):
    (tmp_path / "secret.db").touch()
    with pytest.raises(IdentifierError):
        TenantFiles(tmp_path / "tenants", synchronous="FULL").erase(TenantId("../secret"))
    assert (tmp_path / "secret.db").exists()


def test_marks_are_erased(tmp_path):
    marks = HighWaterFiles(tmp_path)
    marks.write(NORTH, "database-1", 7)
    marks.erase(NORTH)
    marks.erase(NORTH)
    assert marks.read(NORTH) is None
    assert not list(tmp_path.iterdir())


async def test_a_scrub_leaves_no_deleted_byte(tmp_path):
    engine = SqliteEngine(tmp_path / "a.db", synchronous="NORMAL")
    await engine.open()
    await engine.write(lambda sql: sql.run("CREATE TABLE t (id TEXT PRIMARY KEY, x) WITHOUT ROWID"))

    def fill(sql):
        sql.many(
            "INSERT INTO t VALUES (?, ?)",
            [(f"{i * 7919 % 500:04}", f"canary{i}" * 20) for i in range(500)],
        )

    await engine.write(lambda sql: sql.run("PRAGMA secure_delete = OFF"))
    await engine.write(fill)
    await engine.read(lambda sql: sql.all("SELECT * FROM t LIMIT 1"))
    await engine.write(lambda sql: sql.run("DELETE FROM t WHERE id > '0001'"))
    assert await engine.scrub()
    left = (tmp_path / "a.db").read_bytes() + (tmp_path / "a.db-wal").read_bytes()
    assert left.count(b"canary") == 40
    assert await engine.read(lambda sql: sql.one("SELECT count(*) FROM t")) == (2,)
    await engine.close()


async def test_a_scrub_tells_when_a_reader_was_in_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.storage.sqlite.BUSY_TIMEOUT_MS", 50)
    engine = SqliteEngine(tmp_path / "a.db", synchronous="NORMAL")
    await engine.open()
    await engine.write(lambda sql: sql.run("CREATE TABLE t (x)"))
    elsewhere = SqliteEngine(tmp_path / "a.db", is_writer=False)
    await elsewhere.open()
    reader = await elsewhere._take_reader()
    await reader.execute("BEGIN")
    await reader.execute_fetchall("SELECT * FROM t")
    await engine.write(lambda sql: sql.run("INSERT INTO t VALUES (1)"))
    assert not await engine.scrub()
    await reader.execute("COMMIT")
    assert await engine.scrub()
    await elsewhere.close()
    await engine.close()
