"""The listener for nodes: who gets in, what an edge may vouch for, and what becomes of the rest."""

import asyncio
import os
import time
from typing import Any

import httpx
import msgspec
import pytest

from core.identity.limits import Rate
from core.identity.tenants import TenantState
from core.ids import PersonId, TenantId
from edge.errors import CounterGap, Unavailable
from edge.services.fleet.node_tokens import NODE_HEADER
from edge.services.limits import Dimension, LimitKind, Limits
from edge.services.session import Principal
from edge.storage.key_files import KeyFiles
from sync_protocol.codec import decode_server, encode
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.push import Push
from tests.edge.controllers.test_bad_requests import check_problem
from tests.edge.services.fleet.fleet_world import PRIMARY, fleet, joining
from tests.edge.services.memory_limits import MemoryLimits

PUSH = Push(2, 0, 1, [])
HELLO = Hello(1, "survey", 1, "f", "phone-1", 0)


@pytest.fixture
async def world(tmp_path):
    async with fleet(tmp_path) as opened:
        yield opened


@pytest.fixture
async def edge(world):
    return await world.joined("iad-1", "iad")


@pytest.fixture
async def call(world):
    """Send one request to the gate, signed by `party` unless it is None."""
    transport = httpx.ASGITransport(world.gate(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:

        async def send(party, method, target, body=b"", *, headers=None, **claims):
            headers = list((headers or {}).items())
            if party is not None:
                token = await party.tokens.sign(
                    to=PRIMARY, method=method, target=target, body=body, **claims
                )
                headers.append((NODE_HEADER.decode(), token))
            return await client.request(method, target, content=body, headers=headers)

        yield send


def ada(**change):
    now_s = int(time.time())
    return Principal(
        **{
            "tenant": TenantId("main"),
            "person": PersonId("ada"),
            "scopes": frozenset(),
            "expires_unix_s": now_s + 300,
            "issued_unix_s": now_s - 60,
            "session": "s1",
            **change,
        }
    )


async def push(call, party, *, message=PUSH, **claims):
    return await call(party, "POST", "/internal/v1/push", encode(message), **claims)


def check_of_node(answer):
    check_problem(answer, 401, "unauthenticated")
    assert answer.headers["x-skerry-refused"] == "node"


@pytest.mark.parametrize("path", ["/", "/v1/spaces", "/health/live", "/internal/v1/status", "/x"])
async def test_without_a_node_token_nothing_is_served(call, world, path):
    check_of_node(await call(None, "GET", path))
    check_of_node(await call(None, "GET", path, headers={"x-skerry-node": "x"}))
    check_of_node(await call(None, "GET", path, headers={"authorization": "Bearer x"}))
    assert world.forwarded == []


async def test_two_tokens_are_none(world, edge):
    target = "/internal/v1/status"
    good = await edge.tokens.sign(to=PRIMARY, method="GET", target=target, body=b"")
    transport = httpx.ASGITransport(world.gate())
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        for pair in ((good, "x"), ("x", good), (good, good)):
            headers = [("x-skerry-node", token) for token in pair]
            check_of_node(await client.get(target, headers=headers))
        answer = await client.get(target, headers={"x-skerry-node": good})
        assert answer.status_code == 200


async def test_no_body_is_read_of_whom_may_not_call(world):
    asked = []

    async def receive():
        asked.append("body")
        raise AssertionError

    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/internal/v1/push",
        "raw_path": b"/internal/v1/push", "query_string": b"", "headers": [],
        "client": ("10.0.0.9", 1),
    }  # fmt: skip
    await world.gate()(scope, receive, send)
    assert sent[0]["status"] == 401
    assert asked == []


async def test_a_body_is_bounded_whether_it_says_so_or_not(call, edge, world, monkeypatch):
    from edge.controllers import internal_gate

    monkeypatch.setattr(internal_gate, "BODY_BYTES_MAX", 100)
    large = b"x" * 101
    check_problem(await call(edge, "POST", "/internal/v1/push", large), 413, "too-large")
    chunks = {"transfer-encoding": "chunked"}
    answer = await call(edge, "POST", "/internal/v1/push", large, headers=chunks)
    check_problem(answer, 413, "too-large")
    bad = {"content-length": "-1"}
    answer = await call(edge, "POST", "/internal/v1/push", b"", headers=bad)
    check_problem(answer, 413, "too-large")


async def test_who_is_refused_for_an_unknown_key_is_told_of(world, edge):
    refused = []
    transport = httpx.ASGITransport(world.gate(refused=lambda: refused.append(1)))
    target = "/internal/v1/status"
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:

        async def ask():
            token = await edge.tokens.sign(to=PRIMARY, method="GET", target=target, body=b"")
            return await client.get(target, headers={"x-skerry-node": token})

        assert (await ask()).status_code == 200
        edge.clock.ahead_s = 3_600
        check_problem(await ask(), 400, "clock-apart")
        check_of_node(await client.get(target))
        assert refused == [], "a clock that is apart and a missing token tell of no other primary"
        edge.clock.ahead_s = 0
        world.primary.trust._known.keys.clear()
        check_of_node(await ask())
        assert refused == [1]


async def test_another_body_than_was_signed_is_refused(world, edge):
    transport = httpx.ASGITransport(world.gate())
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        signed = {"method": "POST", "target": "/internal/v1/vault"}
        token = await edge.tokens.sign(to=PRIMARY, **signed, body=b"abc")
        headers = {"x-skerry-node": token}
        check_of_node(await client.post(signed["target"], content=b"abd", headers=headers))
        check_of_node(await client.post("/internal/v1/report", content=b"abc", headers=headers))
        check_of_node(await client.put(signed["target"], content=b"abc", headers=headers))
        answer = await client.post(signed["target"], content=b"abc", headers=headers)
        assert answer.content == b"cba"
        check_of_node(await client.post(signed["target"], content=b"abc", headers=headers))


async def test_a_clock_that_is_apart_is_told_so(call, edge):
    edge.clock.ahead_s = 3_600
    answer = await call(edge, "GET", "/internal/v1/status")
    check_problem(answer, 400, "clock-apart")
    assert answer.headers["x-skerry-refused"] == "node"
    assert abs(answer.json()["now_unix_s"] - time.time()) < 3


async def test_a_phones_request_goes_to_the_public_gate(call, edge, world):
    headers = {
        "authorization": "Bearer of-a-phone", "x-skerry-client": "192.0.2.7",
        "x-request-id": "trace-0123456789",
    }  # fmt: skip
    target = "/v1/rows/site?after=%20x"
    answer = await call(edge, "POST", target, b"body", headers=headers, forwards=True)
    assert answer.json() == {"from": "the public gate"}
    ((scope, body),) = world.forwarded
    assert body == b"body"
    assert scope["client"] is None
    assert scope.get("auth") is None
    sent = {name.decode(): value.decode() for name, value in scope["headers"]}
    assert headers.items() <= sent.items()
    assert "x-skerry-node" not in sent
    assert answer.headers.get_list("x-request-id") == ["of-the-public-gate"]


@pytest.mark.parametrize(
    "path", ["/internal/v1/report", "/internal/v1/join/", "/%69nternal/v1/status", "/internal"]
)
async def test_a_phones_request_never_becomes_the_nodes_own(call, edge, world, path):
    answer = await call(edge, "POST", path, b"", forwards=True)
    assert answer.json() == {"from": "the public gate"}
    assert world.reports == []


async def test_a_nodes_own_request_never_becomes_a_phones(call, edge, world):
    for path in ("/v1/spaces", "/health/live", "/internal", "/internal/v2/x", "/internal/v1/x"):
        check_problem(await call(edge, "GET", path), 404, "not-found")
    assert world.forwarded == []


async def test_push_and_hello_speak_for_the_person(call, edge, world):
    pushed: Any = decode_server((await push(call, edge, principal=ada())).content)
    assert pushed.merged_through == 0
    assert len(world.node.main.pushes) == 1
    answer = await call(edge, "POST", "/internal/v1/hello", encode(HELLO), principal=ada())
    welcome: Any = decode_server(answer.content)
    assert welcome.device == 2
    assert world.heard[-1].node == "iad-1"


async def test_a_push_names_a_person_and_its_device(call, edge):
    check_problem(await push(call, edge), 400, "malformed")
    strange = Push(3, 0, 1, [])
    answer = await push(call, edge, message=strange, principal=ada())
    check_problem(answer, 409, "unknown-device")
    for body in (b"", b"\xff", encode(HELLO), b"\x81" * 2_000):
        answer = await call(edge, "POST", "/internal/v1/push", body, principal=ada())
        assert answer.status_code == 400, body


async def test_what_the_tenant_refuses_is_told_whole(call, edge, world):
    world.node.main.failure = CounterGap("A gap.", merged_through=7, database="db")
    answer = await push(call, edge, principal=ada())
    check_problem(answer, 409, "counter-gap")
    assert (answer.json()["merged_through"], answer.json()["database"]) == (7, "db")
    assert "x-skerry-refused" not in answer.headers
    world.node.main.failure = RuntimeError("secret")
    answer = await push(call, edge, principal=ada())
    check_problem(answer, 500, "internal")
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["push", "hello"])
async def test_an_edge_vouches_for_no_more_than_its_key_may_sign(call, edge, world, path):
    message = encode(PUSH if path == "push" else HELLO)

    async def status(**change):
        answer = await call(edge, "POST", f"/internal/v1/{path}", message, principal=ada(**change))
        return answer.status_code

    assert await status() == 200
    assert await status(scopes=frozenset({"operator"})) == 401
    assert await status(tenant=TenantId("nowhere")) == 404
    assert await status(expires_unix_s=int(time.time()) - 100) == 401
    await world.tenant("main", regions=("fra",))
    assert await status() == 401
    await world.tenant("main", regions=("fra", "iad"))
    assert await status() == 200
    await world.tenant("main", state=TenantState.SUSPENDED)
    assert await status() == 403
    await world.tenant("main", state=TenantState.ERASED)
    assert await status() == 404


async def revoke(world, kind, subject, *, at_s):
    until_s = int(time.time()) + 10_000
    await world.primary.control.write(
        lambda unit: unit.revocations.add("main", kind, subject, at_s=at_s, until_s=until_s)
    )
    await world.primary.trust.refresh()


@pytest.mark.parametrize(("kind", "subject"), [("session", "s1"), ("person", "ada")])
async def test_a_relayed_push_is_judged_by_when_it_was_accepted(call, edge, world, kind, subject):
    now_s = int(time.time())
    person = ada(
        session="s1" if kind == "session" else "", issued_unix_s=now_s - 7_300,
        expires_unix_s=now_s - 6_000,
    )  # fmt: skip

    async def status(accepted_s):
        accepted_ms = accepted_s * 1_000
        return (await push(call, edge, principal=person, accepted_ms=accepted_ms)).status_code

    assert (await push(call, edge, principal=person)).status_code == 401
    assert await status(now_s - 7_000) == 200
    assert await status(now_s - 5_000) == 401  # the token had expired before
    await revoke(world, kind, subject, at_s=now_s - 6_500)
    assert await status(now_s - 7_000) == 200
    assert await status(now_s - 6_400) == 401
    answer = await call(
        edge, "POST", "/internal/v1/hello", encode(HELLO), principal=person,
        accepted_ms=(now_s - 7_000) * 1_000,
    )  # fmt: skip
    check_problem(answer, 401, "unauthenticated")


async def test_a_push_accepted_by_a_clock_that_was_ahead_is_taken(call, edge, world):
    ahead_ms = (int(time.time()) + 3_600) * 1_000
    assert (await push(call, edge, principal=ada(), accepted_ms=ahead_ms)).status_code == 200
    await revoke(world, "session", "s1", at_s=int(time.time()) - 5)
    assert (await push(call, edge, principal=ada(), accepted_ms=ahead_ms)).status_code == 401


async def test_the_fleets_services_are_asked(call, edge, world):
    body = msgspec.msgpack.encode(
        {
            "epoch": 1,
            "sequences": {"main": ("d", 7)},
            "acknowledged": {"main": {2: 7}},
            "status": {"lag_ms": 3.5},
        }
    )
    answer = await call(edge, "POST", "/internal/v1/report", body, epoch=3)
    assert msgspec.msgpack.decode(answer.content)["replicated"] == {"main": 7}
    ((caller, report),) = world.reports
    assert (caller.node, caller.claims.epoch) == ("iad-1", 3)
    assert report.sequences == {"main": ("d", 7)}
    assert report.acknowledged == {"main": {2: 7}}
    assert (await call(edge, "GET", "/internal/v1/status")).json() == {"asked_by": "iad-1"}
    claim = b'{"epoch": 2, "node": "iad-1", "url": "", "grpc_url": ""}'
    answer = await call(edge, "POST", "/internal/v1/leadership", claim)
    assert answer.json()["epoch"] == 2


@pytest.mark.parametrize("path", ["report", "leadership", "join"])
@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", b'{"epoch": "x"}', b"[" * 3_000])
async def test_malformed_bodies_are_refused(call, edge, path, body):
    party = None if path == "join" else edge
    check_problem(await call(party, "POST", f"/internal/v1/{path}", body), 400, "malformed")


async def test_only_the_nodes_own_operator_changes_the_fleet(call, edge, world):
    invite = b'{"node": "sin-1", "region": "sin"}'
    for path in ("invite", "revoke", "remove"):
        answer = await call(edge, "POST", f"/internal/v1/nodes/{path}", invite)
        check_problem(answer, 403, "forbidden")
    check_problem(await call(edge, "GET", "/internal/v1/nodes"), 403, "forbidden")
    own = world.primary
    answer = await call(own, "POST", "/internal/v1/nodes/invite", invite)
    assert answer.json()["token"].startswith("skn_sin-1.sin.")
    listed = (await call(own, "GET", "/internal/v1/nodes")).json()["nodes"]
    assert [(n["node"], n["is_primary"]) for n in listed] == [("fra-1", True), ("iad-1", False)]
    name = b'{"node": "iad-1"}'
    assert (await call(own, "POST", "/internal/v1/nodes/remove", name)).json() == {"keys": 2}
    try:
        answer = await call(edge, "GET", "/internal/v1/status")
    except Unavailable:
        assert edge.trust.active_kid("iad-1") is None, "its own copy has told it already"
    else:
        check_of_node(answer)


async def test_a_node_that_is_not_the_primary_takes_no_writes(call, edge, world):
    world.is_primary = False
    check_problem(await push(call, edge, principal=ada()), 503, "unavailable")
    check_problem(await call(None, "POST", "/internal/v1/join", b"{}"), 503, "unavailable")
    assert (await call(edge, "GET", "/internal/v1/status")).status_code == 200


async def test_joining_needs_the_token_alone(call, world):
    body = joining(await world.invited("sin-1", "sin"), KeyFiles(world.folder / "k"), "sin-1")
    answer = await call(None, "POST", "/internal/v1/join", msgspec.json.encode(body))
    assert answer.json()["primary_node"] == PRIMARY
    body.token = body.token[::-1]
    answer = await call(None, "POST", "/internal/v1/join", msgspec.json.encode(body))
    check_problem(answer, 400, "invalid-grant")
    check_problem(await call(None, "POST", "/internal/v1/join", b"x" * 5_000), 413, "too-large")
    check_problem(await call(None, "GET", "/internal/v1/join"), 405, "not-found")


async def test_attempts_to_join_are_counted_by_address(world):
    rates = {(LimitKind.LOGIN, Dimension.ADDRESS): Rate(3, 60)}
    limits = Limits(MemoryLimits(), rates, secret=os.urandom(32), now_us=lambda: 0)
    transport = httpx.ASGITransport(world.gate(limits=limits), client=("10.0.0.9", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        found = [(await client.post("/internal/v1/join")).status_code for _ in range(5)]
    assert found == [400, 400, 400, 429, 429]


async def test_requests_in_flight_are_bounded(world, edge):
    hold = asyncio.Event()

    async def slow(scope, receive, send):
        await hold.wait()
        await world.public(scope, receive, send)

    gate = world.gate(public=slow, requests_in_flight_max=1)
    transport = httpx.ASGITransport(gate)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:

        async def one():
            token = await edge.tokens.sign(
                to=PRIMARY, method="GET", target="/x", body=b"", forwards=True
            )
            return (await client.get("/x", headers={"x-skerry-node": token})).status_code

        first = asyncio.create_task(one())
        await asyncio.sleep(0.05)
        assert await one() == 503
        hold.set()
        assert await first == 200


async def test_streams_are_for_the_public_listener(world):
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    await world.gate()({"type": "websocket", "path": "/v1/sync/stream"}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
