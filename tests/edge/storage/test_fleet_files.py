"""A fleet node's sqld: whether it answers is known without asking."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edge.errors import Unavailable
from edge.storage import fleet_files
from edge.storage.fleet_files import SqldProbe
from edge.storage.libsql import LibsqlEngine
from edge.tracing import build_tracer
from tests.edge.test_tracing import Collector, attributes


@asynccontextmanager
async def answering(handle):
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", server
    finally:
        server.close()


async def until(probe, is_up):
    async with asyncio.timeout(10):
        while probe.is_up is not is_up:  # noqa: ASYNC110  (metrics look at it the same way)
            await asyncio.sleep(0.01)


def saying(status):
    async def handle(reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"GET /health ")
            writer.write(
                b"HTTP/1.1 %d x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status
            )
            await writer.drain()
        finally:
            writer.close()

    return handle


async def test_an_sqld_that_answers_is_up_and_one_that_is_gone_is_not():
    async with answering(saying(200)) as (address, server):
        probe = SqldProbe(address, every_s=0.01)
        assert not probe.is_up
        probe.start()
        try:
            await until(probe, True)
            server.close()
            await until(probe, False)
        finally:
            await probe.close()


@pytest.mark.parametrize("handle", [saying(500), lambda reader, _: reader.read()])
async def test_an_sqld_that_fails_or_hangs_is_not_up(monkeypatch, handle):
    monkeypatch.setattr(fleet_files, "PROBE_S_MAX", 0.1)
    async with answering(handle) as (address, _):
        probe = SqldProbe(address, every_s=0.01)
        probe.is_up = True
        probe.start()
        try:
            await until(probe, False)
        finally:
            await probe.close()


class FakeServer:
    """An sqld without a database; the next commit's answer may be lost."""

    namespace = "t-main"

    def __init__(self):
        self.known = None
        self.is_lost = False

    async def create(self, namespace):
        pass

    async def fence(self):
        return self.known

    async def rows(self, sql):
        return []

    async def commit(self, statements):
        if self.is_lost:
            self.is_lost = False
            raise Unavailable("No answer.")

    async def close(self):
        pass


async def test_a_batch_is_a_span_of_the_unit_that_it_commits(tmp_path):
    collector = Collector()
    tracer = build_tracer(collector.url, node="fra-1", role="primary", region="fra", version="1")
    server: Any = FakeServer()
    engine = LibsqlEngine(
        tmp_path / "copy.db", server, server, server_file=tmp_path / "none", epoch=lambda: 1,
        tracer=tracer,
    )  # fmt: skip
    try:
        await engine.open()
        with tracer.span("commit"):
            await engine.write(lambda sql: sql.run("CREATE TABLE t (a INTEGER)"))
        await asyncio.to_thread(tracer.close)
        spans = collector.spans()
        batch = spans["fra-1", "sqld batch"]
        assert batch.parent_span_id == spans["fra-1", "commit"].span_id
        assert attributes(batch) == {"skerry.database": "t-main", "skerry.statements": 2}
    finally:
        await engine.close()
        collector.close()
