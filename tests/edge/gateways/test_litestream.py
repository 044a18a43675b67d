"""Litestream beside a writer: one at a time, restarted, its configuration without secrets."""

import asyncio
import json
import os
import signal
import sqlite3
import time

import pytest

from edge.errors import NotFound, Unavailable
from edge.gateways.litestream import (
    Litestream,
    Streams,
    find_litestream,
    restore_stream,
)
from tests.edge.gateways.s3_server import BUCKET, s3_server

WAIT_SECONDS = 20


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data" / "tenants").mkdir(parents=True)
    return tmp_path


def writer_of(folder, name="main"):
    connection = sqlite3.connect(folder / "data" / "tenants" / f"{name}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x BLOB)")
    return connection


async def nothing():
    """These writers have just begun: their logs hold everything."""


def stream_of(folder, target=None, environment=None):
    streams = Streams(
        folder / "data", target or str(folder / "store"), {**os.environ, **(environment or {})}
    )
    program = find_litestream(os.environ)
    return streams, Litestream(
        program, streams, tenants="tenants", databases=(), empty_logs=nothing
    )


async def restored(streams, folder, path="tenants/main.db", at_ms=None):
    """Restore until there is something; return the rows' ids."""
    program = find_litestream(os.environ)
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            target = folder / f"restored-{time.monotonic_ns()}.db"
            try:
                await restore_stream(program, streams, path, target, at_ms=at_ms)
            except NotFound:
                await asyncio.sleep(0.1)
                continue
            connection = sqlite3.connect(target)
            found = [row[0] for row in connection.execute("SELECT id FROM t ORDER BY id")]
            connection.close()
            return found


async def test_rows_reach_the_replica_and_new_databases_are_found(folder):
    streams, stream = stream_of(folder)
    writer = writer_of(folder)
    await stream.start()
    try:
        writer.execute("INSERT INTO t (x) VALUES ('a')")
        late = writer_of(folder, "late")
        late.execute("INSERT INTO t (x) VALUES ('b'), ('c')")
    finally:
        async with asyncio.timeout(WAIT_SECONDS):
            while not (folder / "store" / "litestream" / "tenants" / "late.db").is_dir():  # noqa: ASYNC110  (another process works)
                await asyncio.sleep(0.05)
        await stream.close()
    assert await restored(streams, folder) == [1]
    assert await restored(streams, folder, "tenants/late.db") == [1, 2]
    names = {path.name for path in (folder / "data" / "tenants").iterdir()}
    assert not any("litestream" in name for name in names)
    with pytest.raises(NotFound):
        await restore_stream(
            find_litestream(os.environ), streams, "tenants/main.db", folder / "x", at_ms=1_000
        )
    with pytest.raises(NotFound):
        await restore_stream(
            find_litestream(os.environ), streams, "tenants/none.db", folder / "x", at_ms=None
        )


async def test_it_is_restarted_and_an_abandoned_one_is_ended(folder):
    streams, stream = stream_of(folder)
    writer = writer_of(folder)
    await stream.start()
    first = stream.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(WAIT_SECONDS):
        while stream.restarts == 0 or stream.pid == first:  # noqa: ASYNC110  (another process works)
            await asyncio.sleep(0.05)
    writer.execute("INSERT INTO t (x) VALUES ('a')")
    # The node is killed: nobody ends its child, and the next node finds the lock taken.
    abandoned = stream._process
    assert abandoned is not None
    assert stream._task is not None
    stream._task.cancel()
    _, successor = stream_of(folder)
    await successor.start()
    try:
        assert await asyncio.wait_for(abandoned.wait(), WAIT_SECONDS) is not None
        writer.execute("INSERT INTO t (x) VALUES ('b')")
        await asyncio.sleep(1.5)
    finally:
        await successor.close()
    assert await restored(streams, folder) == [1, 2]


@pytest.mark.slow
async def test_a_stream_goes_to_s3_and_its_configuration_holds_no_secret(folder):
    with s3_server(folder) as environment:
        secrets = {**environment, "AWS_SECRET_ACCESS_KEY": "secret-7c1f"}
        streams, stream = stream_of(folder, f"s3://{BUCKET}/some/prefix", secrets)
        writer = writer_of(folder)
        await stream.start()
        writer.execute("INSERT INTO t (x) VALUES ('a')")
        await asyncio.sleep(2.5)
        await stream.close()
        assert await restored(streams, folder) == [1]
        for path in (folder / "data" / "litestream").rglob("*.json"):
            assert b"secret-7c1f" not in path.read_bytes()


def test_what_is_configured(folder):
    streams = Streams(folder, "s3://bucket/a/b", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    document = streams.document(tenants="tenants", databases=["control.db"])
    tenants, control = document["dbs"]
    assert tenants["replica"]["path"] == "a/b/litestream/tenants"
    assert control["replica"]["path"] == "a/b/litestream/control.db"
    assert tenants["replica"]["endpoint"] == "http://127.0.0.1:9"
    assert tenants["truncate-page-n"] == 0
    assert json.dumps(document)


def test_a_missing_program_is_said(folder, monkeypatch):
    with pytest.raises(Unavailable, match="SKERRY_LITESTREAM"):
        find_litestream({"SKERRY_LITESTREAM": str(folder / "none")})
