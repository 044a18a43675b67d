"""Hellos and pushes of a node that does not judge: handed to its upstream, whatever their form."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar
from litestar.datastructures import State

from edge.controllers.forwarding import CLIENT_HEADER, ForwardWrites
from edge.controllers.sync import SyncController
from edge.errors import Forbidden, Unavailable
from edge.observability import Metrics
from edge.problems import fault_of
from edge.services.session import Principal
from sync_protocol.codec import Media, decode_server, encode
from sync_protocol.faults import FaultKind
from sync_protocol.media import Media as MediaType
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional
from sync_protocol.messages.push import Push, WireChange, WireMutation
from sync_protocol.messages.pushed import Pushed, Receipt
from sync_protocol.messages.welcome import Welcome
from sync_protocol.mutations import decode_mutations
from tests.edge.controllers.fakes import FakeNode

HELLO = Hello(
    protocol=1, app="survey", schema_version=1, fingerprint="f", installation="i1", clock=1
)
MUTATION = WireMutation(1, 5, [WireChange("airfield", "a", "insert", "north", {"name": "A"})])
REFRESH = "/v1/auth/refresh"
LOCAL = frozenset({"/v1/sync/hello", "/v1/sync/push"})


class FakeUpstream:
    """Takes everything; remembers who said what."""

    def __init__(self):
        self.heard = []
        self.failure = None

    async def hello(self, principal, token, hello):
        self._note(principal, token, hello)
        return Welcome(1, 2, "d", 0, 1, "f", 1, "current")

    async def push(self, principal, token, push):
        self._note(principal, token, push)
        decoded = decode_mutations(push, MediaType.MSGPACK)
        return Pushed(0, 0, receipts=[Receipt(m.counter or 0, "accepted", 0) for m in decoded])

    def _note(self, *what):
        if self.failure is not None:
            raise self.failure
        self.heard.append(what)


@pytest.fixture
def upstream():
    return FakeUpstream()


def push_in(media):
    encoded = (msgspec.json if media is Media.JSON else msgspec.msgpack).encode(MUTATION)
    return Push(device=2, clock=1, schema_version=1, mutations=[msgspec.Raw(encoded)])


@pytest.fixture
async def client(upstream):
    principal = Principal("main", "ada", frozenset(), 2**40)  # type: ignore[arg-type]
    node: Any = FakeNode()
    routes: Any = Litestar(
        route_handlers=[SyncController(node, Metrics(), upstream=upstream).router()],
        openapi_config=None,
        exception_handlers={Forbidden: _refuse},
        state=State(),
    )

    async def verified(scope, receive, send):
        if scope["type"] == "http":
            scope["user"], scope["auth"] = principal, "the token"
        await routes(scope, receive, send)

    transport = httpx.ASGITransport(verified)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        yield client


def _refuse(request, error):
    from litestar import Response

    return Response(fault_of(error).fault, status_code=403)


@pytest.mark.parametrize("media", list(Media))
async def test_messages_over_http_are_handed_on(client, upstream, media):
    headers = {"content-type": media.value}
    body = encode(HELLO, media)
    answer = await client.post("/v1/sync/hello", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    welcome: Any = decode_server(answer.content, media)
    assert welcome.device == 2
    body = encode(push_in(media), media)
    answer = await client.post("/v1/sync/push", content=body, headers=headers)
    pushed: Any = decode_server(answer.content, media)
    assert pushed.receipts[0].outcome == "accepted"
    (principal, token, hello), (_, _, push) = upstream.heard
    assert (principal.person, token, hello.installation) == ("ada", "the token", "i1")
    assert decode_mutations(push, MediaType.MSGPACK) == [MUTATION]


async def test_what_the_upstream_refuses_is_passed_on(client, upstream):
    upstream.failure = Forbidden("Not here.")
    answer = await client.post(
        "/v1/sync/push",
        content=encode(push_in(Media.MSGPACK)),
        headers={"content-type": Media.MSGPACK.value},
    )
    assert (answer.status_code, upstream.heard) == (403, [])


class FakeWriter:
    """Answers what it was asked, or is away."""

    def __init__(self):
        self.is_away = False
        self.asked = []

    async def request(self, method, target, headers, body):
        if self.is_away:
            raise Unavailable("The primary is away.")
        self.asked.append((method, target, dict(headers), body))
        return 201, {"content-type": "text/plain", "x-secret": "s"}, b"by the writer"


async def routes(scope, receive, send):
    """Echo the body; ask for more than there is, as a framework does that waits for the end."""
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    later = asyncio.ensure_future(receive())
    await asyncio.sleep(0)
    later.cancel()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here: " + body})


@pytest.fixture
async def forwarding():
    writer: Any = FakeWriter()
    forward: Any = ForwardWrites(routes, writer, local=LOCAL, fallback=frozenset({REFRESH}))

    async def gate(scope, receive, send):
        scope["state"] = {"address": "192.0.2.7"}
        await forward(scope, receive, send)

    transport = httpx.ASGITransport(gate)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        yield client, writer


@pytest.mark.parametrize(
    ("method", "path", "is_here"),
    [
        ("GET", "/v1/rows/airfield", True),
        ("POST", "/v1/sync/pull", True),
        ("POST", "/v1/sync/push", True),
        ("POST", "/v1/sync/hello", True),
        ("PUT", "/v1/sync/push", False),
        ("POST", "/v1/rows/airfield", False),
        ("POST", REFRESH, False),
        ("GET", "/v1/me/export", False),
        ("DELETE", "/v1/me", False),
        ("BREW", "/v1/rows/airfield", False),
    ],
)
async def test_only_what_belongs_here_is_served_here(forwarding, method, path, is_here):
    client, writer = forwarding
    answer = await client.request(method, path, content=b"body", params={"a": "b"})
    if is_here:
        assert answer.content == b"here: body"
        assert writer.asked == []
    else:
        assert (answer.status_code, answer.content) == (201, b"by the writer")
        assert "x-secret" not in answer.headers
        ((asked, target, headers, body),) = writer.asked
        assert (asked, target, body) == (method, path + "?a=b", b"body")
        assert headers[CLIENT_HEADER] == b"192.0.2.7"


async def test_a_client_cannot_say_that_it_is_another(forwarding):
    client, writer = forwarding
    await client.post("/v1/rows/airfield", headers={"x-skerry-client": "10.0.0.1"})
    assert writer.asked[0][2][CLIENT_HEADER] == b"192.0.2.7"


async def test_a_refresh_is_served_here_only_while_the_primary_is_away(forwarding):
    client, writer = forwarding
    assert (await client.post(REFRESH, content=b"token")).content == b"by the writer"
    writer.is_away = True
    for size in (0, 5, 300_000):
        answer = await client.post(REFRESH, content=b"t" * size)
        assert answer.content == b"here: " + b"t" * size
    with pytest.raises(Unavailable):
        await client.post("/v1/rows/airfield", content=b"row")
    with pytest.raises(Unavailable):
        await client.put(REFRESH, content=b"token")


async def test_streams_hand_on_too_and_tell_what_is_provisional(upstream):
    from edge.controllers.stream import StreamController, StreamLimits

    bounds = StreamLimits(streams_max=9, streams_per_person_max=9, send_timeout_s=5)
    node: Any = FakeNode()
    controller = StreamController(node, Metrics(), bounds, upstream=upstream)
    for media in Media:
        socket: Any = FakeSocket(media)
        running = asyncio.create_task(controller.stream(socket))
        socket.say(HELLO)
        assert isinstance(await socket.hear(), Welcome)
        socket.say(push_in(media))
        answer = await socket.hear()
        assert answer.receipts[0].outcome == "accepted"
        principal, token, push = upstream.heard[-1]
        assert (principal.person, token) == ("ada", "the token")
        assert decode_mutations(push, MediaType.MSGPACK) == [MUTATION]
        upstream.failure = Forbidden("Not here.")
        socket.say(push_in(media))
        assert (await socket.hear()).fault is FaultKind.FORBIDDEN
        upstream.failure = None
        socket.leave()
        await running
    assert node.main.pushes == []


async def test_a_stream_whose_subscription_ends_is_ended(upstream):
    from edge.controllers.stream import StreamController, StreamLimits
    from sync_protocol.messages.pull import Pull

    class Ending:
        def __init__(self, told):
            self.told = list(told)

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.told:
                raise StopAsyncIteration
            await asyncio.sleep(0.05)
            return self.told.pop(0)

        def close(self):
            pass

    async def subscribe(session, since):
        return Ending([Poke(0, 1), Provisional()])

    bounds = StreamLimits(streams_max=9, streams_per_person_max=9, send_timeout_s=5)
    node: Any = FakeNode()
    node.main.live.subscribe = subscribe
    controller = StreamController(node, Metrics(), bounds, upstream=upstream)
    socket: Any = FakeSocket(Media.MSGPACK)
    running = asyncio.create_task(controller.stream(socket))
    socket.say(HELLO)
    assert isinstance(await socket.hear(), Welcome)
    socket.say(Pull(device=2, schema_version=1))
    heard = [await socket.hear() for _ in range(4)]
    assert [type(message).__name__ for message in heard] == ["Page", "Poke", "Provisional", "Fault"]
    assert heard[-1].fault is FaultKind.UNAVAILABLE
    await asyncio.wait_for(running, 5)
    assert socket.closed == 4400


class FakeSocket:
    """A WebSocket whose other end is the test."""

    def __init__(self, media):
        self.media = media
        principal = Principal("main", "ada", frozenset(), 2**40)  # type: ignore[arg-type]
        self.scope: Any = {"user": principal, "auth": "the token", "subprotocols": [], "state": {}}
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.outgoing: asyncio.Queue[Any] = asyncio.Queue()
        self.closed = None

    def say(self, message):
        body = encode(message, self.media)
        text = body.decode() if self.media is Media.JSON else None
        self.incoming.put_nowait({"type": "websocket.receive", "text": text, "bytes": body})

    def leave(self):
        self.incoming.put_nowait({"type": "websocket.disconnect"})

    async def hear(self) -> Any:
        event = await asyncio.wait_for(self.outgoing.get(), 5)
        frame = event["text"].encode() if self.media is Media.JSON else event["bytes"]
        return decode_server(frame, self.media)

    async def accept(self, subprotocols=None):
        pass

    async def receive(self):
        return await self.incoming.get()

    async def send(self, event):
        if event["type"] == "websocket.close":
            self.closed = event["code"]
        else:
            self.outgoing.put_nowait(event)

    async def close(self, **_):
        pass
