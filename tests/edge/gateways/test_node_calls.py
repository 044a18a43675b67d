"""Calls between nodes over real TLS: who gets in, who is believed, and how long anybody waits."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from edge.errors import Unavailable
from edge.gateways import node_calls
from edge.gateways.certificates import (
    TlsFiles,
    client_context,
    make_authority,
    make_node_certificate,
    server_context,
)
from edge.gateways.node_calls import HttpNodeCalls
from tests.edge.services.fleet.fleet_world import listening


def files(folder, node, **options):
    if not (folder / "ca.pem").exists():
        make_authority(folder)
    made = make_node_certificate(folder, node, ["10.0.0.1"], **options)
    return TlsFiles(made / "ca.pem", made / "node.pem", made / "node.key")


async def echo(scope, receive, send):
    """Answer with what came."""
    if scope["path"] == "/never":
        await asyncio.sleep(30)
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    headers = [(b"x-target", scope["raw_path"] + b"?" + scope["query_string"])]
    await send({"type": "http.response.start", "status": 207, "headers": headers})
    await send({"type": "http.response.body", "body": scope["method"].encode() + b" " + body})


class Calls:
    """One caller, closed by the fixture."""

    def __init__(self):
        self.opened = []

    async def __call__(self, url, *, tls=None, target="/a?b=%20", deadline_s=5.0, **options):
        calls = HttpNodeCalls(None if tls is None else client_context(tls))
        self.opened.append(calls)
        return await calls.request(url, "POST", target, [], b"body", deadline_s=deadline_s)


@pytest.fixture
async def call():
    calls = Calls()
    yield calls
    for opened in calls.opened:
        await opened.close()


@pytest.fixture
async def url(tmp_path):
    context = server_context(files(tmp_path / "certs", "fra-1"))
    async with listening(echo, context=context) as address:
        yield address


async def test_two_nodes_of_one_fleet_understand_each_other(url, call, tmp_path):
    answer = await call(url, tls=files(tmp_path / "certs", "iad-1"))
    assert (answer.status, answer.body) == (207, b"POST body")
    assert answer.headers["x-target"] == "/a?b=%20"


async def test_another_authoritys_node_does_not_get_in_nor_is_it_believed(url, call, tmp_path):
    stranger = files(tmp_path / "other", "iad-1")
    with pytest.raises(Unavailable):
        await call(url, tls=stranger)
    ours = files(tmp_path / "certs", "iad-1")
    mixed = TlsFiles(ours.ca, stranger.cert, stranger.key)
    with pytest.raises(Unavailable):
        await call(url, tls=mixed)


async def test_without_a_client_certificate_nobody_gets_in(url, tmp_path):
    import ssl

    context = ssl.create_default_context(cafile=tmp_path / "certs" / "ca.pem")
    async with httpx.AsyncClient(verify=context, trust_env=False) as client:
        with pytest.raises(httpx.TransportError):
            await client.get(url)


async def test_plain_http_gets_nothing_from_the_tls_port(url, call):
    with pytest.raises(Unavailable):
        await call(url.replace("https", "http"))


async def test_an_expired_certificate_is_refused(url, call, tmp_path):
    past = datetime.now(UTC) - timedelta(days=800)
    with pytest.raises(Unavailable):
        await call(url, tls=files(tmp_path / "certs", "old-1", now=past))


async def test_a_certificate_for_another_address_is_refused(call, tmp_path):
    context = server_context(files(tmp_path / "certs", "fra-1"))
    async with listening(echo, context=context, host="127.0.0.2") as address:
        with pytest.raises(Unavailable):
            await call(address, tls=files(tmp_path / "certs", "iad-1"))


@pytest.mark.parametrize("address", ["http://10.0.0.1:1", "https://10.0.0.1:1", "ftp://127.0.0.1"])
async def test_beyond_this_machine_there_is_no_call_without_tls(call, address):
    with pytest.raises(Unavailable, match="need TLS"):
        await call(address)


async def test_plain_calls_stay_on_this_machine(call):
    async with listening(echo) as address:
        assert (await call(address)).body == b"POST body"


async def test_nobody_waits_beyond_the_deadline(call):
    async with listening(echo) as address, asyncio.timeout(10):
        with pytest.raises(Unavailable, match=r"in time|Timeout"):
            await call(address, target="/never", deadline_s=0.1)


async def test_an_answer_is_bounded(call, monkeypatch):
    monkeypatch.setattr(node_calls, "ANSWER_BYTES_MAX", 4)
    async with listening(echo) as address:
        with pytest.raises(Unavailable, match="too large"):
            await call(address)


async def test_a_node_that_is_not_there_is_unavailable(call):
    async with listening(echo) as address:
        pass
    with pytest.raises(Unavailable, match="cannot be reached"):
        await call(address)
