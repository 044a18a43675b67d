"""An edge's way to the primary over a real listener: refusals, clocks, deadlines, the breaker."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from core.fleet import Leadership
from core.ids import PersonId, TenantId
from edge.errors import (
    ClockApart,
    ClonedDevice,
    CounterGap,
    EdgeError,
    Forbidden,
    NotFound,
    RateLimited,
    Unauthenticated,
    Unavailable,
    UnknownDevice,
)
from edge.gateways.node_calls import HttpNodeCalls
from edge.ports.fleet import NodeAnswer, OutboxEntry
from edge.problems import problem_of
from edge.services.fleet import breaker, primary_link
from edge.services.fleet.breaker import THRESHOLD, Breaker
from edge.services.fleet.calls import SignedCalls
from edge.services.fleet.messages import ReportBody
from edge.services.fleet.models import principal_to_json
from edge.services.fleet.primary_link import PrimaryLink
from edge.services.fleet.told import told
from edge.services.session import Principal
from sync_protocol.errors import MalformedMessage
from sync_protocol.faults import FaultKind
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.push import Push, WireChange, WireMutation
from tests.edge.services.fleet.fleet_world import PRIMARY, fleet, listening

HELLO = Hello(1, "survey", 1, "f", "phone-1", 0)
PUSH = Push(2, 0, 1, [])


def ada(**change):
    now_s = int(time.time())
    claims = {"tenant": TenantId("main"), "person": PersonId("ada"), "scopes": frozenset()}
    return Principal(**{**claims, "expires_unix_s": now_s + 300, "session": "s1", **change})


class CountedCalls:
    """Real calls that are counted; `fail` makes the next ones fail as a dead connection does."""

    def __init__(self):
        self.inner = HttpNodeCalls(None)
        self.targets = []
        self.fail = 0

    async def request(self, url, method, target, headers, body, *, deadline_s):
        self.targets.append(target)
        if self.fail:
            self.fail -= 1
            raise Unavailable("The connection is dead.")
        return await self.inner.request(url, method, target, headers, body, deadline_s=deadline_s)

    async def close(self):
        await self.inner.close()


class Seconds:
    """A monotonic clock that a test moves."""

    def __init__(self):
        self.ahead_s = 0.0

    def __call__(self):
        return time.monotonic() + self.ahead_s


@pytest.fixture
async def world(tmp_path):
    async with fleet(tmp_path) as opened:
        yield opened


@pytest.fixture
async def linked(world):
    """An edge, its link to the listening primary, and the calls it makes."""
    async with listening(world.gate()) as url:
        await world.found(url)
        edge = await world.joined("iad-1", "iad")
        calls, clock = CountedCalls(), Seconds()
        link = PrimaryLink(SignedCalls(calls, edge.tokens), edge.trust, clock=clock)
        yield SimpleNamespace(edge=edge, link=link, calls=calls, clock=clock, url=url)
        await calls.close()


async def test_hello_and_push_reach_the_tenant(world, linked):
    assert (await linked.link.hello(ada(), "token", HELLO)).device == 2
    assert (await linked.link.push(ada(), "token", PUSH)).merged_through == 0
    assert linked.calls.targets == [primary_link.HELLO_PATH, primary_link.PUSH_PATH]
    assert world.heard[-1].claims.epoch == 1


async def test_what_waited_is_relayed_in_one_push(world, linked):
    import msgspec

    expired = ada(expires_unix_s=int(time.time()) - 1_000)
    accepted_ms = int(time.time() - 2_000) * 1_000
    entries = [
        OutboxEntry(
            counter, TenantId("main"), 2, counter, 1, 0, principal_to_json(expired),
            msgspec.msgpack.encode(WireMutation(counter, 1, [WireChange("airfield", "a")])),
            accepted_ms,
        )
        for counter in (1, 2, 3)
    ]  # fmt: skip
    assert (await linked.link.relay(entries)).merged_through == 3
    ((first, second, third),) = world.node.main.pushes
    assert [first.counter, second.counter, third.counter] == [1, 2, 3]
    with pytest.raises(Unauthenticated):
        await linked.link.push(expired, "token", PUSH)


async def test_reports_are_answered(world, linked):
    heard = await linked.link.report(ReportBody(1, {"main": ("d", 7)}, {"main": {2: 7}}))
    assert (heard.replicated, heard.sequences, heard.now_unix_ms) == (
        {"main": 7},
        {"main": ("d", 8)},
        9,
    )
    assert world.reports[0][1].acknowledged == {"main": {2: 7}}


async def test_a_phones_write_is_forwarded_as_it_is(world, linked):
    headers = [(b"authorization", b"Bearer x"), (b"X-Skerry-Node", b"forged")]
    status, answered, body = await linked.link.request("POST", "/v1/rows/x?a=%20b", headers, b"abc")
    assert (status, answered["content-type"]) == (200, "application/json")
    assert body == b'{"from": "the public gate"}'
    ((scope, content),) = world.forwarded
    assert content == b"abc"
    assert scope["query_string"] == b"a=%20b"
    assert (b"authorization", b"Bearer x") in scope["headers"]


@pytest.mark.parametrize(
    "target",
    ["/internal/v1/report", "/%69nternal/v1/report", "//internal/v1/x", "/INTERNAL/v1/x"],
)
async def test_nodes_endpoints_are_not_forwarded(world, linked, target):
    with pytest.raises(NotFound):
        await linked.link.request("POST", target, [], b"")
    assert linked.calls.targets == []


@pytest.mark.parametrize(
    "failure",
    [
        CounterGap("A gap.", merged_through=7, database="db"),
        ClonedDevice("A copy.", database="db"),
        UnknownDevice("Say hello."),
        Forbidden("No."),
        RateLimited("Slow down.", delay_ms=1_500),
    ],
)
async def test_refusals_come_as_the_errors_they_are(world, linked, failure):
    world.node.main.failure = failure
    with pytest.raises(type(failure)) as refused:
        await linked.link.push(ada(), "token", PUSH)
    assert problem_of(refused.value) == problem_of(failure)
    assert len(linked.calls.targets) == 1


async def test_every_fault_comes_back_as_its_kind():
    from edge.problems import Problem

    for fault in FaultKind:
        error = told(Problem(fault, "why", retry_after_ms=500).body("x"))
        found: Any = problem_of(error)
        if isinstance(error, MalformedMessage):  # of the edge's own making, all of them
            continue
        assert (found.fault, found.detail) == (fault, "why")
    assert isinstance(told(b'{"fault": "clock-apart", "detail": ""}'), ClockApart)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"fault": "new", "detail": ""}', b"[" * 5_000]
)
async def test_nonsense_is_unavailable(body):
    assert isinstance(told(body), Unavailable)


@pytest.mark.parametrize("ahead_s", [-3_600, 3_600, -86_400 * 365])
async def test_a_clock_jump_cuts_no_node_off(linked, ahead_s):
    await linked.link.report(ReportBody(1))
    linked.edge.clock.ahead_s = ahead_s
    await linked.link.report(ReportBody(1))
    assert len(linked.calls.targets) == 3  # told the time once, then right at once
    await linked.link.report(ReportBody(1))
    assert len(linked.calls.targets) == 4
    linked.edge.clock.ahead_s = 0
    await linked.link.report(ReportBody(1))


async def test_a_revoked_node_does_not_sign_its_phones_out(world, linked):
    await linked.link.hello(ada(), "token", HELLO)
    await world.membership.revoke("iad-1", actor="operator")
    with pytest.raises(Unavailable):  # never Unauthenticated: that is about a phone's own token
        await linked.link.hello(ada(), "token", HELLO)
    with pytest.raises(Unavailable):
        await linked.link.request("GET", "/v1/spaces", [], b"")


async def test_a_primary_that_does_not_know_this_node_any_more_is_unavailable(world, linked):
    # The edge still has its key: its replica is behind.
    await linked.edge.trust.close()
    await world.membership.remove("iad-1", actor="operator")
    with pytest.raises(Unavailable, match="does not take"):
        await linked.link.push(ada(), "token", PUSH)
    with pytest.raises(Unavailable, match="does not take"):
        await linked.link.request("POST", "/v1/spaces", [], b"")
    assert world.forwarded == []


async def test_a_dead_connection_is_tried_once_more(linked):
    linked.calls.fail = 1
    await linked.link.push(ada(), "token", PUSH)
    assert len(linked.calls.targets) == 2
    linked.calls.fail = 2
    with pytest.raises(Unavailable):
        await linked.link.push(ada(), "token", PUSH)
    assert len(linked.calls.targets) == 4


async def test_a_phones_post_is_sent_once(linked):
    linked.calls.fail = 1
    with pytest.raises(Unavailable):
        await linked.link.request("POST", "/v1/invitations", [], b"")
    assert len(linked.calls.targets) == 1
    linked.calls.fail = 1
    assert (await linked.link.request("GET", "/v1/invitations", [], b""))[0] == 200


async def test_after_failures_in_a_row_nobody_waits_and_one_call_tries_again(linked, world):
    link, calls = linked.link, linked.calls
    calls.fail = THRESHOLD * 2
    for _ in range(THRESHOLD):
        assert not link.is_open
        with pytest.raises(Unavailable):
            await link.report(ReportBody(1))
    assert link.is_open
    made = len(calls.targets)
    with pytest.raises(Unavailable, match="in a moment"):
        await link.push(ada(), "token", PUSH)
    assert len(calls.targets) == made
    linked.clock.ahead_s = breaker.OPEN_S + 0.1
    assert not link.is_open
    await link.report(ReportBody(1))
    assert not link.is_open


async def test_refusals_do_not_open_the_circuit(linked, world):
    world.node.main.failure = Forbidden("No.")
    for _ in range(THRESHOLD + 1):
        with pytest.raises(Forbidden):
            await linked.link.push(ada(), "token", PUSH)
    assert not linked.link.is_open


async def test_another_primary_starts_with_a_closed_circuit(linked):
    linked.calls.fail = THRESHOLD * 2
    for _ in range(THRESHOLD):
        with pytest.raises(Unavailable):
            await linked.link.report(ReportBody(1))
    assert linked.link.is_open
    linked.link.follow(Leadership(1, "sin-1", "http://127.0.0.1:1", ""))  # no newer than known
    assert linked.link.leader().node == PRIMARY
    assert linked.link.is_open
    linked.link.follow(Leadership(2, "sin-1", "http://127.0.0.1:1", ""))
    assert linked.link.leader().node == "sin-1"
    assert not linked.link.is_open


async def test_before_anybody_is_known_the_fallback_is_called(world, linked):
    trust: Any = SimpleNamespace(leadership=lambda: None)
    calls = SignedCalls(linked.calls, linked.edge.tokens)
    with pytest.raises(Unavailable, match="does not know"):
        await PrimaryLink(calls, trust).report(ReportBody(0))
    fallback = Leadership(0, PRIMARY, linked.url, "")
    await PrimaryLink(calls, trust, fallback=fallback).report(ReportBody(0))
    assert len(world.reports) == 1


async def test_a_silent_primary_costs_the_deadline_once(monkeypatch, linked):
    class Silent:
        calls = 0

        async def request(self, *arguments, deadline_s):
            self.calls += 1
            await asyncio.sleep(deadline_s)
            raise Unavailable("Nothing came.")

    monkeypatch.setattr(primary_link, "HELLO_S", 0.2)
    silent: Any = Silent()
    link = PrimaryLink(SignedCalls(silent, linked.edge.tokens), linked.edge.trust)
    with pytest.raises(Unavailable):
        await link.report(ReportBody(1))
    assert silent.calls == 1


async def test_an_answer_that_is_no_message_is_unavailable(linked):
    class Nonsense:
        async def request(self, *arguments, deadline_s):
            return NodeAnswer(200, {}, b"\xff")

    nonsense: Any = Nonsense()
    link = PrimaryLink(SignedCalls(nonsense, linked.edge.tokens), linked.edge.trust)
    for call in (link.push(ada(), "t", PUSH), link.report(ReportBody(1))):
        with pytest.raises(Unavailable):
            await call


class TestBreaker:
    """The circuit by itself."""

    async def opened(self):
        clock = Seconds()
        circuit = Breaker("x", clock=clock)
        for _ in range(THRESHOLD):
            with pytest.raises(Unavailable):
                await self.fail(circuit)
        assert circuit.is_open
        return circuit, clock

    async def fail(self, circuit, error=None):
        async with circuit.call():
            raise error or Unavailable("away")

    async def test_a_success_between_failures_starts_the_count_again(self):
        circuit = Breaker("x")
        for _ in range(3):
            for _ in range(THRESHOLD - 1):
                with pytest.raises(Unavailable):
                    await self.fail(circuit)
            async with circuit.call():
                pass
        assert not circuit.is_open

    async def test_its_state_is_shown(self):
        assert Breaker("x").state == "closed"
        circuit, clock = await self.opened()
        assert circuit.state == "open"
        clock.ahead_s = breaker.OPEN_S
        assert circuit.state == "half-open"
        async with circuit.call():
            assert circuit.state == "half-open"
        assert circuit.state == "closed"

    async def test_one_call_goes_through_a_half_open_circuit(self):
        circuit, clock = await self.opened()
        clock.ahead_s = breaker.OPEN_S
        async with circuit.call():
            assert circuit.is_open
            with pytest.raises(Unavailable, match="in a moment"):
                await self.fail(circuit)
        assert not circuit.is_open

    async def test_a_failed_probe_opens_it_again(self):
        circuit, clock = await self.opened()
        clock.ahead_s = breaker.OPEN_S
        with pytest.raises(Unavailable, match="away"):
            await self.fail(circuit)
        assert circuit.is_open
        clock.ahead_s += breaker.OPEN_S
        assert not circuit.is_open

    async def test_a_refused_probe_closes_it(self):
        circuit, clock = await self.opened()
        clock.ahead_s = breaker.OPEN_S
        with pytest.raises(EdgeError):
            await self.fail(circuit, Forbidden("no"))
        async with circuit.call(), circuit.call():
            pass

    async def test_a_cancelled_probe_leaves_the_next_one_to_try(self):
        circuit, clock = await self.opened()
        clock.ahead_s = breaker.OPEN_S
        with pytest.raises(asyncio.CancelledError):
            await self.fail(circuit, asyncio.CancelledError())
        assert not circuit.is_open
        async with circuit.call():
            assert circuit.is_open

    async def test_a_wall_clock_that_is_set_back_does_not_keep_it_open(self, monkeypatch):
        circuit, clock = await self.opened()
        clock.ahead_s = breaker.OPEN_S
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() - 3_600)
        async with circuit.call():
            pass
        assert not circuit.is_open
