"""The stream over a real socket: hello to pokes, and every way it ends."""

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from edge.app import build_gate
from edge.controllers.outbox import Outbox, PokeFrames
from edge.errors import StorageFull
from edge.workers.serve import listening_socket, make_server
from sync_protocol import limits
from sync_protocol.codec import Media, decode_server, encode
from sync_protocol.faults import FaultKind
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional, ProvisionalMutation
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.welcome import Welcome
from tests.edge.controllers.conftest import Served
from tests.edge.controllers.fakes import FakeNode

HELLO = Hello(
    protocol=1, app="survey", schema_version=1, fingerprint="f", installation="i1", clock=1
)


class Listening(Served):
    url = ""

    @asynccontextmanager
    async def stream(self, *, media=Media.MSGPACK, headers=None, **options):
        headers = self.bearer() if headers is None else headers
        async with connect(self.url, additional_headers=headers, **options) as socket:
            yield Stream(socket, media)


class Stream:
    def __init__(self, socket, media):
        self.socket, self.media = socket, media

    async def ask(self, message):
        body = encode(message, self.media)
        await self.socket.send(body.decode() if self.media is Media.JSON else body)

    async def answer(self):
        frame = await asyncio.wait_for(self.socket.recv(), 5)
        return decode_server(frame.encode() if isinstance(frame, str) else frame, self.media)

    async def live(self):
        await self.ask(HELLO)
        assert isinstance(await self.answer(), Welcome)
        await self.ask(Pull(device=2, schema_version=1))
        assert isinstance(await self.answer(), Page)

    async def close_code(self):
        try:
            while True:
                await asyncio.wait_for(self.socket.recv(), 5)
        except ConnectionClosed as closed:
            return None if closed.rcvd is None else closed.rcvd.code


@pytest.fixture
def settings(settings):
    return replace(settings, port=0)


@pytest.fixture
async def served(settings):
    node: Any = FakeNode()
    gate: Any = build_gate(node, settings)
    server = make_server(gate, settings)
    listener = listening_socket(settings)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110  (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    async with httpx.AsyncClient(base_url=f"http://{address}") as client:
        served = Listening(node, gate, settings, client)
        served.url = f"ws://{address}/v1/sync/stream"
        yield served
    server.should_exit = server.force_exit = True
    await running


@pytest.mark.parametrize("media", list(Media))
async def test_from_hello_to_a_poke(served, media):
    async with served.stream(media=media) as stream:
        await stream.live()
        await stream.ask(Push(device=2, clock=1, schema_version=1, mutations=[]))
        assert isinstance(await stream.answer(), Pushed)
        served.node.main.live.tell(Poke(since=0, sequence=1))
        assert (await stream.answer()).sequence == 1
    await asyncio.sleep(0.1)
    assert served.node.main.live.subscriptions == []
    assert served.gate._routes is not None


async def test_a_web_page_brings_its_token_as_a_subprotocol(served):
    protocols = ["skerry.v1.msgpack", f"bearer.{served.token()}"]
    origin = "https://app.example.org"
    async with served.stream(headers={}, subprotocols=protocols, origin=origin) as stream:
        assert stream.socket.subprotocol == "skerry.v1.msgpack"
        await stream.live()


@pytest.mark.parametrize(
    ("headers", "options", "status"),
    [
        ({}, {}, 401),
        ({"authorization": "Bearer x"}, {}, 401),
        ({}, {"subprotocols": ["skerry.v1.msgpack", "bearer.x"]}, 401),
        (None, {"origin": "https://evil.example"}, 403),
        (None, {"origin": "null"}, 403),
    ],
)
async def test_a_stranger_gets_no_stream(served, headers, options, status):
    with pytest.raises(InvalidStatus) as refused:
        async with served.stream(headers=headers, **options):
            pass
    assert refused.value.response.status_code == status
    problem = msgspec.json.decode(refused.value.response.body)
    assert problem["status"] == status


async def test_it_ends_with_its_token(served):
    started = time.time()
    async with served.stream(headers=served.bearer(lifetime_s=2)) as stream:
        await stream.live()
        fault = await stream.answer()
        assert fault.fault is FaultKind.UNAUTHENTICATED
        assert await stream.close_code() == 4401
    assert time.time() - started < 4


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (b"\xc1", FaultKind.MALFORMED),
        (b"", FaultKind.MALFORMED),
        (b"\x91" * 100_000, FaultKind.MALFORMED),
        ("[" * 100_000, FaultKind.MALFORMED),
        ('{"kind":"welcome"}', FaultKind.UNKNOWN_MESSAGE),
        (encode(Pull(device=2, schema_version=1), Media.MSGPACK), FaultKind.OUT_OF_TURN),
    ],
)
async def test_a_bad_frame_ends_it_with_a_fault(served, frame, fault):
    async with served.stream() as stream:
        await stream.socket.send(frame)
        answered = await stream.socket.recv()
        if isinstance(answered, str):
            answered, media = answered.encode(), Media.JSON
        else:
            media = Media.MSGPACK
        answer = decode_server(answered, media)
        assert isinstance(answer, Fault)
        assert answer.fault is fault
        assert await stream.close_code() == 4400


async def test_a_change_of_media_ends_it(served):
    async with served.stream() as stream:
        await stream.live()
        await stream.socket.send(encode(HELLO, Media.JSON).decode())
        assert (await stream.answer()).fault is FaultKind.MALFORMED


async def test_a_frame_that_is_too_large_never_arrives(served):
    async with served.stream() as stream:
        with suppress(ConnectionClosed):
            await stream.socket.send(b"x" * (limits.MESSAGE_BYTES_MAX + 1))
        assert await stream.close_code() == 1009


async def test_a_failing_service_is_a_fault_and_the_stream_goes_on(served):
    async with served.stream() as stream:
        await stream.live()
        for failure, fault in (
            (StorageFull("Full."), FaultKind.STORAGE_FULL),
            (RuntimeError("sesame"), FaultKind.INTERNAL),
        ):
            served.node.main.failure = failure
            await stream.ask(Push(device=2, clock=1, schema_version=1, mutations=[]))
            answer = await stream.answer()
            assert isinstance(answer, Fault)
            assert (answer.fault, answer.answers) == (fault, "push")
            assert "sesame" not in answer.message
        served.node.main.failure = None
        await stream.ask(Push(device=2, clock=1, schema_version=1, mutations=[]))
        assert isinstance(await stream.answer(), Pushed)


class TestWithFewStreams:
    @pytest.fixture
    def settings(self, settings):
        return replace(settings, streams_max=3, streams_per_person_max=2)

    async def test_a_person_has_few_and_the_node_not_many(self, served):
        async with served.stream() as one, served.stream() as two:
            await one.live()
            await two.live()
            async with served.stream() as three:
                assert await three.close_code() == 4503
            async with served.stream(headers=served.bearer(person="ben")) as other:
                await other.live()
                async with served.stream(headers=served.bearer(person="eve")) as fourth:
                    assert await fourth.close_code() == 4503
        await asyncio.sleep(0.1)
        async with served.stream() as again:
            await again.live()


class TestWithASlowReader:
    @pytest.fixture
    def settings(self, settings):
        return replace(settings, stream_send_timeout_s=1)

    async def test_it_loses_pokes_then_its_stream(self, served):
        async with served.stream(max_queue=1, close_timeout=0.2) as stream:
            await stream.live()
            stream.socket.transport.pause_reading()
            bulk = msgspec.Raw(msgspec.msgpack.encode("x" * 1_000_000))
            for sequence in range(1, 200):
                served.node.main.live.tell(Poke(sequence - 1, sequence, spaces=[bulk]))
            await asyncio.sleep(2.5)
            assert served.node.main.live.subscriptions == []
            text = (await served.client.get("/metrics")).text
            assert "skerry_streams 0.0" in text
            assert "skerry_dropped_pokes_total 0.0" not in text


async def test_pokes_beyond_the_bound_become_one_that_says_pull():
    dropped = []
    outbox = Outbox(PokeFrames(), on_dropped=dropped.append)
    outbox.put(Fault(fault=FaultKind.OVERLOADED, message="first"))
    for sequence in range(1, limits.STREAM_QUEUE_FRAMES_MAX + 2):
        outbox.put(Poke(sequence - 1, sequence))
    outbox.close()
    frames = []
    while (frame := await outbox.take()) is not None:
        frames.append(decode_server(frame))
    assert isinstance(frames[0], Fault)
    assert frames[1:] == [Poke(0, limits.STREAM_QUEUE_FRAMES_MAX + 1, pull=True)]
    assert dropped == [limits.STREAM_QUEUE_FRAMES_MAX]


async def test_a_provisional_set_replaces_the_one_that_waits():
    outbox = Outbox(PokeFrames(), on_dropped=lambda _count: None)

    def holding(counter):
        return Provisional([ProvisionalMutation(3, counter, counter, [])])

    outbox.put(holding(1))
    outbox.put(Poke(0, 1))
    for counter in range(2, 1_000):
        outbox.put(holding(counter))
    outbox.put(Fault(fault=FaultKind.OVERLOADED, message="last"))
    outbox.close()
    frames = []
    while (frame := await outbox.take()) is not None:
        frames.append(decode_server(frame))
    # Not in the first one's place: the poke before it is of an older state.
    assert frames[:2] == [Poke(0, 1), holding(999)]
    assert [type(frame) for frame in frames[2:]] == [Fault]


def test_a_poke_is_encoded_once_for_all():
    frames = PokeFrames()
    poke = Poke(0, 1)
    assert frames.frame(poke, Media.MSGPACK) is frames.frame(poke, Media.MSGPACK)
    assert frames.frame(poke, Media.JSON) != frames.frame(poke, Media.MSGPACK)


async def test_a_head_that_never_ends_is_cut_off(served):
    port = int(str(served.client.base_url).rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health/live HTTP/1.1\r\nhost: x\r\n")
    sent = 0
    with suppress(ConnectionError):
        while sent < 20_000_000 and not reader.at_eof():
            writer.write(b"x-filler: " + b"y" * 30_000 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
            sent += 30_000
    assert sent < 20_000_000
    writer.close()


async def test_a_head_that_never_comes_is_given_up(served, monkeypatch):
    monkeypatch.setattr("edge.workers.serve_http.HEAD_SECONDS_MAX", 0.3)
    port = int(str(served.client.base_url).rsplit(":", 1)[1])
    for start in (b"", b"GET /health/live HTTP/1.1\r\nx"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
