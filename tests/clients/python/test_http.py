"""The HTTP transport: faults in every dress, garbage, tokens, progress; sync never raises."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from skerry_client import Skerry, TransactionOpen, transport
from sync_protocol.codec import encode
from sync_protocol.faults import FaultKind
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.pull import Pull
from tests.clients.python.fake_server import FakeServer
from tests.clients.python.links import http_to, streamed
from tests.clients.python.survey import NORTH, Note, database, survey


class Troubled:
    """A phone with one note, a server, and what to answer instead of it."""

    def __init__(self, folder, **options):
        self.server = FakeServer(survey(), [NORTH])
        self.instead: Callable[[httpx.Request], httpx.Response | None] = lambda _request: None
        transport = http_to(self.server, lose=self.lose)
        self.phone = Skerry(
            database(folder), survey(), url="http://test/", background=False,
            http_transport=transport, **{"token": "token", **options},
        )  # fmt: skip
        self.phone.insert(Note, space=NORTH, text="kept")

    def lose(self, request):
        return self.instead(request)


@pytest.fixture
async def troubled(tmp_path):
    troubled = Troubled(tmp_path)
    async with troubled.phone:
        yield troubled


def problem(status, **members):
    return httpx.Response(
        status, json=members, headers={"content-type": "application/problem+json"}
    )


async def test_a_round_over_http(troubled):
    status = await troubled.phone.sync()
    assert (status.is_current, status.pending, status.fault) == (True, 0, None)
    assert troubled.phone.digests()[NORTH] == troubled.server.digest(NORTH).hex()


async def test_offline_is_a_status(troubled):
    def tunnel(request):
        raise httpx.ConnectError("tunnel")

    troubled.instead = tunnel
    status = await troubled.phone.sync()
    assert (status.is_current, status.is_stopped, status.pending) == (False, False, 1)
    assert "tunnel" in status.message
    troubled.instead = lambda _request: None
    assert (await troubled.phone.sync()).is_current


@pytest.mark.parametrize(
    "response",
    [
        lambda: problem(409, fault="wrong-app", detail="another app"),
        lambda: httpx.Response(
            200, content=encode(Fault(fault=FaultKind.WRONG_APP, message="another app")),
            headers={"content-type": "application/msgpack"},
        ),
        lambda: httpx.Response(
            409, content=encode(Fault(fault=FaultKind.WRONG_APP, message="another app")),
            headers={"content-type": "application/msgpack"},
        ),
    ],
)  # fmt: skip
async def test_a_fault_that_stops_sync_is_shown_and_local_work_goes_on(troubled, response):
    troubled.instead = lambda _request: response()
    status = await troubled.phone.sync()
    assert (status.is_stopped, status.fault) == (True, FaultKind.WRONG_APP)
    assert status.message == "another app"
    troubled.phone.insert(Note, space=NORTH, text="local")
    troubled.instead = lambda _request: None
    status = await troubled.phone.sync()
    assert (status.is_current, status.pending, status.fault) == (True, 0, None)


@pytest.mark.parametrize(
    "response",
    [
        lambda: httpx.Response(502, text="<html>bad gateway</html>"),
        lambda: httpx.Response(200, text="<html>log in to this hotel</html>"),
        lambda: streamed(b"\xc1", 200, {"content-type": "application/msgpack"}),
        lambda: streamed(
            b"junk", 200, {"content-type": "application/msgpack", "content-encoding": "zstd"}
        ),
        lambda: problem(418, fault="teapot"),
        lambda: problem(500, fault="internal", retry_after_ms=1),
        lambda: problem(401),
        lambda: problem(503, fault="unavailable", retry_after_ms=0),
        lambda: httpx.Response(429, headers={"retry-after": "0"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", ["hello", "push", "pull"])
async def test_whatever_is_answered_nothing_is_lost(troubled, response, at):
    troubled.instead = lambda request: response() if request.url.path.endswith(at) else None
    status = await troubled.phone.sync()
    assert not status.is_current
    assert troubled.phone.rows(Note)[0].text == "kept"
    troubled.instead = lambda _request: None
    status = await troubled.phone.sync()
    assert (status.is_current, status.pending) == (True, 0)
    assert len(troubled.server.rows) == 1


async def test_a_refused_token_is_fetched_again(tmp_path):
    tokens = iter(["expired", "token"])

    async def fetch():
        return next(tokens)

    troubled = Troubled(tmp_path, token=fetch)
    troubled.instead = lambda request: (
        problem(401, fault="unauthenticated")
        if request.headers["authorization"] == "Bearer expired"
        else None
    )
    async with troubled.phone:
        assert (await troubled.phone.sync()).is_current


async def test_progress_and_an_open_transaction(troubled):
    seen = []
    troubled.phone.on_progress(lambda done, total: seen.append((done, total)))
    await troubled.phone.sync()
    assert seen[-1] == (1, 1)
    with troubled.phone.transaction(), pytest.raises(TransactionOpen):
        await troubled.phone.sync()


async def test_pushes_are_batched(troubled):
    sizes = []

    def measure(request):
        if request.url.path.endswith("push"):
            sizes.append(len(request.read()))

    text = "".join(chr(33 + i * 7 % 90) for i in range(60_000))
    for number in range(40):
        troubled.phone.insert(Note, space=NORTH, text=text[number:])
    troubled.instead = measure
    assert (await troubled.phone.sync()).pending == 0
    assert len(sizes) >= 3
    assert max(sizes) < 2**20


class Slow(httpx.AsyncBaseTransport):
    """Takes a request, says how far it has come, and answers only when it is told to."""

    def __init__(self, *, writes=True):
        self.writes = writes
        self.steps = []
        self.is_due = asyncio.Event()

    async def handle_async_request(self, request):
        await asyncio.sleep(0.01)
        if self.writes:
            self.steps.append("written")
            await request.extensions["trace"]("http11.send_request_body.complete", {})
        await self.is_due.wait()
        return httpx.Response(204)


@pytest.mark.parametrize("writes", [True, False])
async def test_a_request_is_on_the_wire_when_send_returns(monkeypatch, writes):
    monkeypatch.setattr(transport, "WRITE_SECONDS_MAX", 5.0 if writes else 0.02)
    slow = Slow(writes=writes)
    async with httpx.AsyncClient(transport=slow) as client:
        link = transport.HttpLink(client, "http://server", "token")
        await asyncio.wait_for(link.send(Pull(1, 1, None, 1, 0, 0)), 2)
        assert slow.steps == ["written"] * writes
        await link.close()


async def test_a_send_that_is_cancelled_as_it_ends_is_cancelled(monkeypatch):
    """Else whoever closes the phone waits for a sync that goes on."""

    async def ask(_self, _message, sent):
        sent.set()
        sending.cancel()

    monkeypatch.setattr(transport.HttpLink, "_ask", ask)
    async with httpx.AsyncClient() as client:
        link = transport.HttpLink(client, "http://test", "token")
        sending = asyncio.create_task(link.send(Pull(2, 1)))
        with pytest.raises(asyncio.CancelledError):
            await sending
        await link.close()
