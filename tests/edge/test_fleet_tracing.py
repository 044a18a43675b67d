"""Traces over a fleet: what one phone's request does on two nodes is one trace, by real parts."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
import uvicorn
from litestar import Litestar
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from core.ids import PersonId, TenantId
from edge.app import build_application
from edge.controllers.forwarding import ForwardWrites
from edge.controllers.stream import StreamController, StreamLimits
from edge.controllers.sync import SyncController
from edge.errors import Forbidden
from edge.gateways.node_calls import HttpNodeCalls
from edge.identity_wiring import prepare_limits
from edge.observability import Metrics
from edge.repositories.outbox import SqlOutbox
from edge.services.fleet.calls import SignedCalls
from edge.services.fleet.drain import Drain
from edge.services.fleet.messages import ReportBody
from edge.services.fleet.primary_link import PrimaryLink
from edge.services.fleet.relay import Relay
from edge.settings import Settings
from edge.storage.grouped import GroupedEngine
from edge.storage.sqlite import SqliteEngine
from skerry_client.stream import StreamLink
from skerry_client.tracing import fresh_traceparent
from skerry_client.transport import HttpLink
from sync_protocol.codec import Media
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from tests.edge.controllers.fakes import FakeNode
from tests.edge.controllers.fakes import app as fake_app
from tests.edge.controllers.test_upstream import FakeSocket, FakeUpstream, push_in
from tests.edge.services.fleet.fleet_world import fleet, listening
from tests.edge.services.fleet.primary import encode
from tests.edge.services.harness import insert, outcomes, running
from tests.edge.test_tracing import (
    Collector,
    attributes,
    bearer,
    collector,
    gate_of,
    keys,
    node,
    tracer_of,
)

__all__ = ["bearer", "collector", "keys", "tracer_of"]
PERSON = "ada-the-person"


def every_span(found: Collector) -> list[Any]:
    """Return (node, span) of everything that has arrived, in no order."""
    return [
        (next(a.value.string_value for a in of.resource.attributes
              if a.key == "service.instance.id"), span)
        for _, body in found.bodies
        for of in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in of.scope_spans
        for span in scope.spans
    ]  # fmt: skip


def chain(found: Collector, *, trace: str) -> list[tuple[str, str]]:
    """Return a trace's spans from its root on; fails unless each has one child at most."""
    by_parent = {}
    inside = [(name, span) for name, span in every_span(found) if span.trace_id.hex() == trace]
    known = {span.span_id for _, span in inside}
    for name, span in inside:
        parent = span.parent_span_id if span.parent_span_id in known else b""
        assert parent not in by_parent, (span.name, by_parent[parent][1].name)
        by_parent[parent] = (name, span)
    path, at = [], b""
    while at in by_parent:
        name, span = by_parent[at]
        path.append((name, span.name))
        at = span.span_id
    assert len(path) == len(inside)
    return path


class TwoNodes:
    """An edge and a primary with tracers, real listeners, gates, calls and databases."""

    def __init__(self, primary, replica, link, outbox, on_edge):
        self.primary, self.replica = primary, replica
        self.link, self.outbox, self.on_edge = link, outbox, on_edge
        self.is_away = False
        self.relay = Relay(
            replica.node, link, outbox, now_ms=replica.clock, on_accepted=lambda _tenant: None,
            is_away=lambda: self.is_away, tracer=on_edge,
        )  # fmt: skip

    def routes(self) -> Any:
        return Litestar(
            route_handlers=[
                SyncController(self.replica.node, Metrics(), upstream=self.relay).router()
            ],
            openapi_config=None,
        )

    async def device(self):
        await self.primary.device(PERSON)
        return await self.replica.device(PERSON)


@pytest.fixture
async def two(tmp_path, keys, tracer_of):
    on_edge, on_primary = tracer_of("iad-1"), tracer_of("fra-1")
    outbox_file = SqliteEngine(tmp_path / "outbox.db")
    await outbox_file.open()
    outbox = SqlOutbox(GroupedEngine(outbox_file), mutations_max=100, bytes_max=1 << 20)
    await outbox.open()
    calls = HttpNodeCalls(None)

    async def profile(scope, receive, send):
        scope["path_template"] = scope["path"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    keys.development_key()
    public = gate_of(profile, keys, on_primary)
    async with (
        fleet(tmp_path) as world,
        running(tmp_path / "primary", tracer=on_primary) as primary,
        running(tmp_path / "replica") as replica,
    ):
        world.node = primary.node
        async with listening(world.gate(public=public, tracer=on_primary)) as url:
            await world.found(url)
            party = await world.joined("iad-1", "iad")
            signed = SignedCalls(calls, party.tokens, tracer=on_edge)
            link = PrimaryLink(signed, party.trust)
            yield TwoNodes(primary, replica, link, outbox, on_edge)
        await calls.close()
    await outbox.close()


async def closed(*tracers):
    for tracer in tracers:
        await asyncio.to_thread(tracer.close)


@asynccontextmanager
async def phone_at(client, bearer, trace):
    token = bearer["authorization"].removeprefix("Bearer ")
    async with httpx.AsyncClient(trust_env=False) as http:
        link = HttpLink(http, str(client.base_url), token, traceparent=lambda: trace)
        try:
            yield link
        finally:
            await link.close()


def push_of(device, name="i1"):
    import msgspec

    raw = msgspec.Raw(encode(device.mutation(insert("item", name))))
    return Push(device.number, device.last_h, device.schema_version, [raw])


async def test_a_push_through_an_edge_is_one_trace(two, collector, keys, bearer):
    device = await two.device()
    trace = fresh_traceparent()
    async with (
        node(two.routes(), keys, two.on_edge) as client,
        phone_at(client, bearer, trace) as phone,
    ):
        await phone.send(push_of(device))
        answer: Any = await phone.receive()
        assert outcomes(answer) == {1: "merged"}
    await closed(two.on_edge, two.primary.tracer)
    assert chain(collector, trace=trace.split("-")[1]) == [
        ("iad-1", "POST /v1/sync/push"),
        ("iad-1", "relay"),
        ("fra-1", "internal"),
        ("fra-1", "ingest wait"),
        ("fra-1", "commit"),
    ]
    spans = collector.spans()
    assert spans["iad-1", "POST /v1/sync/push"].parent_span_id.hex() == trace.split("-")[2]
    internal = attributes(spans["fra-1", "internal"])
    assert internal["http.route"] == "/internal/v1/push"
    assert internal["skerry.node"] == "iad-1"
    assert attributes(spans["iad-1", "relay"]) == {
        "skerry.node": "fra-1", "http.response.status_code": 200,
    }  # fmt: skip
    assert attributes(spans["fra-1", "commit"])["skerry.mutations"] == 1
    assert not any(PERSON.encode() in body for _, body in collector.bodies)


async def test_a_write_that_is_forwarded_is_one_trace(two, collector, keys, bearer):
    unused: Any = None
    trace = fresh_traceparent()
    forwarding: Any = ForwardWrites(unused, two.link, tracer=two.on_edge)
    async with node(forwarding, keys, two.on_edge) as client:
        answer = await client.put("/v1/me", headers={**bearer, "traceparent": trace})
        assert answer.status_code == 200
    await closed(two.on_edge, two.primary.tracer)
    assert chain(collector, trace=trace.split("-")[1]) == [
        ("iad-1", "PUT (none)"), ("iad-1", "relay"), ("fra-1", "PUT /v1/me"),
    ]  # fmt: skip


async def test_what_is_accepted_and_what_is_drained_are_a_trace_each(two, collector, keys, bearer):
    device = await two.device()
    trace = fresh_traceparent()
    two.is_away = True
    async with (
        node(two.routes(), keys, two.on_edge) as client,
        phone_at(client, bearer, trace) as phone,
    ):
        await phone.send(push_of(device))
        answer: Any = await phone.receive()
        assert outcomes(answer) == {1: "accepted"}
    drain = Drain(
        two.outbox, two.link, now_ms=two.replica.clock, on_settled=lambda _tenant: None,
        on_refused=lambda _tenant, _device: None, tracer=two.on_edge,
    )  # fmt: skip
    drain.start()
    try:
        async with asyncio.timeout(10):
            while two.outbox.waiting("main", device.number) is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        await drain.close()
    await closed(two.on_edge, two.primary.tracer)
    assert chain(collector, trace=trace.split("-")[1]) == [
        ("iad-1", "POST /v1/sync/push"), ("iad-1", "outbox append"),
    ]  # fmt: skip
    batch = collector.spans()["iad-1", "drain batch"]
    assert chain(collector, trace=batch.trace_id.hex()) == [
        ("iad-1", "drain batch"), ("iad-1", "relay"),
        ("fra-1", "internal"), ("fra-1", "ingest wait"), ("fra-1", "commit"),
    ]  # fmt: skip


async def test_reports_are_no_traces(two, collector):
    await two.link.report(ReportBody(1, {}, {}, {}))
    await closed(two.on_edge, two.primary.tracer)
    assert every_span(collector) == []


async def test_a_commit_is_in_the_trace_of_a_push_that_is_kept_and_names_others(
    tmp_path, collector, tracer_of
):
    tracer = tracer_of("fra-1")
    async with running(tmp_path, tracer=tracer) as harness:
        devices = [await harness.device(f"person-{number}") for number in range(40)]
        unkept = fresh_traceparent()[:-2] + "00"

        async def push(index, device):
            parent = unkept if index == 0 else fresh_traceparent()
            with tracer.span("request", kind="server", parent=parent):
                return await device.push(insert("item", f"i{index}"))

        await asyncio.gather(*(push(*each) for each in enumerate(devices)))
    await closed(tracer)
    found = [span for _, span in every_span(collector)]
    waits = {span.span_id for span in found if span.name == "ingest wait"}
    commits = [span for span in found if span.name == "commit"]
    assert len(waits) == 39
    assert len(commits) == 1  # all of them wait before the writer's task has its turn
    named = {link.span_id for link in commits[0].links}
    assert commits[0].parent_span_id in waits
    assert len(named) == 32
    assert named < waits - {commits[0].parent_span_id}


async def test_workers_are_no_part_of_the_request_that_opened_their_tenant(tmp_path, tracer_of):
    tracer = tracer_of("fra-1")
    seen = []
    async with running(tmp_path, tracer=tracer) as harness:
        harness.node._on_commit = lambda *_: seen.append(tracer.traceparent())
        with tracer.span("request", kind="server"):
            await harness.node.create_tenant(TenantId("other"))
        tenant = await harness.node.tenant(TenantId("other"))
        await tenant.ingest.write_as_primary([[insert("item", "i1")]])
    assert seen == [None]


async def test_messages_of_a_stream_are_linked_to_it(collector, tracer_of):
    tracer, phone = tracer_of("iad-1"), fresh_traceparent()
    bounds = StreamLimits(streams_max=9, streams_per_person_max=9, send_timeout_s=5)
    fake: Any = FakeNode()
    upstream = FakeUpstream()
    controller = StreamController(fake, Metrics(), bounds, upstream=upstream, tracer=tracer)
    socket: Any = FakeSocket(Media.MSGPACK)
    socket.scope["state"]["traceparent"] = phone
    serving = asyncio.create_task(controller.stream(socket))
    push = push_in(Media.MSGPACK)
    for message in (Hello(1, "survey", 1, "f", "i1", 1), push, Pull(2, 1)):
        socket.say(message)
        await socket.hear()
    setattr(upstream, "failure", Forbidden("sesame-error"))  # noqa: B010  (made in its __init__)
    socket.say(push)
    await socket.hear()
    socket.leave()
    await serving
    await closed(tracer)
    spans = [span for _, span in every_span(collector)]
    assert sorted(span.name for span in spans) == ["stream pull", "stream push", "stream push"]
    for span in spans:
        assert [link.trace_id.hex() for link in span.links] == [phone.split("-")[1]]
        assert not span.parent_span_id
    assert [attributes(s).get("skerry.outcome") for s in spans].count("forbidden") == 1
    assert not any(b"sesame" in body for _, body in collector.bodies)


@pytest.mark.parametrize("named", [None, "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"])
async def test_a_phone_names_its_trace_when_it_opens_a_stream(monkeypatch, named):
    heads = []

    async def connect(_address, **options):
        heads.append(options["additional_headers"])
        raise OSError

    monkeypatch.setattr("skerry_client.stream.connect", connect)
    with pytest.raises(Exception, match="OSError"):
        await StreamLink.open("http://test", "t", traceparent=lambda: named)
    expected = {"Authorization": "Bearer t"}
    assert heads == [expected if named is None else {**expected, "traceparent": named}]


async def test_a_node_hands_over_its_last_spans_and_shows_refusals_and_mails(
    tmp_path, collector, bearer
):
    settings = Settings(data=tmp_path, traces=collector.url, metrics_public=True)
    prepare_limits(settings)
    gate = build_application(fake_app, replace(settings, node="n-1"), secret=bytes(32))
    config = uvicorn.Config(gate, port=0, log_config=None, lifespan="on", ws="none")
    server = uvicorn.Server(config)
    served = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started:
            assert not served.done()
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
        text = (await client.get("/metrics")).text
        answer = await client.get("/v1/spaces", headers=bearer)
    server.should_exit = True
    await served
    assert answer.status_code == 200
    assert "skerry_limit_refusals" in text
    assert 'skerry_mails_total{outcome="sent"} 0.0' in text
    assert ("n-1", "GET /v1/spaces") in collector.spans()
    assert PersonId(PERSON).encode() not in b"".join(body for _, body in collector.bodies)
