"""The stream over a real WebSocket: pokes, reconnects, and the fall back to HTTP."""

import asyncio
import http
import json
from collections.abc import Callable

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Response

from skerry_client import Skerry
from skerry_client.stream import SUBPROTOCOL
from sync_protocol.codec import decode_client, encode
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.push import Push
from tests.clients.python.fake_server import FakeServer
from tests.clients.python.links import http_to
from tests.clients.python.survey import NORTH, Note, database, survey


class StreamServer:
    """The fake server behind WebSockets; a push pokes everybody else."""

    def __init__(self, fake):
        self.fake = fake
        self.sockets: set[ServerConnection] = set()
        self.refusal: tuple[int, dict[str, str]] | None = None
        self.phone: Callable[[str], Skerry] = lambda _name: Skerry("", fake.app)

    async def handle(self, socket):
        self.sockets.add(socket)
        try:
            async for frame in socket:
                message = decode_client(frame)
                since = self.fake.sequence
                await socket.send(encode(self.fake.answer(message)))
                if isinstance(message, Push) and self.fake.sequence > since:
                    await self.poke(since, socket)
        finally:
            self.sockets.discard(socket)

    async def poke(self, since, author):
        changed = sorted(
            (row.sequence, name, row)
            for (name, _), row in self.fake.rows.items()
            if row.sequence > since
        )
        poke = Poke(since, self.fake.sequence, spaces=self.fake.encoded(changed),
                    digests={NORTH: self.fake.digest(NORTH)})  # fmt: skip
        for socket in self.sockets - {author}:
            await socket.send(encode(poke))
        own = msgspec.structs.replace(
            poke, merged_through=max(len(taken) for taken in self.fake.taken.values())
        )
        await author.send(encode(own))

    def process(self, socket, request):
        assert request.path == "/v1/sync/stream"
        assert request.headers["authorization"] == "Bearer token"
        if self.refusal is None:
            return None
        status, problem = self.refusal
        headers = Headers({"content-type": "application/problem+json"})
        return Response(
            status, http.HTTPStatus(status).phrase, headers, json.dumps(problem).encode()
        )


@pytest.fixture
async def world(tmp_path):
    app = survey()
    server = StreamServer(FakeServer(app, [NORTH]))
    async with serve(
        server.handle, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL], process_request=server.process
    ) as listening:
        port = listening.sockets[0].getsockname()[1]

        def phone(name):
            return Skerry(
                database(tmp_path, name), app, url=f"http://127.0.0.1:{port}", token="token",
                http_transport=http_to(server.fake),
            )  # fmt: skip

        server.phone = phone
        yield server


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (what it waits for is told nowhere)
            await asyncio.sleep(0.01)


async def test_writes_travel_by_themselves(world):
    async with world.phone("a") as a, world.phone("b") as b:
        await until(lambda: a.status.is_current and b.status.is_current)
        row = a.insert(Note, space=NORTH, text="hello")
        await until(lambda: b.get(Note, row) is not None)
        b.edit(Note, row, text="answer")
        await until(lambda: a.get(Note, row).text == "answer")
        await until(lambda: not a.pending() and not b.pending())
        # A receipt may come before the poke with the row.
        await until(lambda: a.digests() == b.digests())
        status = await a.sync()
        assert (status.state, status.is_current, status.pending) == ("live", True, 0)


async def test_a_cut_stream_is_made_again(world):
    async with world.phone("a") as a:
        await until(lambda: a.status.is_current)
        for socket in list(world.sockets):
            socket.transport.abort()
        row = a.insert(Note, space=NORTH, text="offline")
        await until(lambda: ("note", row) in world.fake.rows)
        await until(lambda: a.status.pending == 0)


async def test_without_streams_http_does_it(world):
    world.refusal = (503, {"title": "no streams here"})
    async with world.phone("a") as a:
        row = a.insert(Note, space=NORTH, text="x")
        await until(lambda: ("note", row) in world.fake.rows)
        assert not world.sockets
