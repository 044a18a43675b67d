"""Traces: one per request of a phone, over all nodes, with nothing in them that a person sent."""

import asyncio
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from core.ids import PersonId, TenantId
from edge.controllers.gate import Gate
from edge.controllers.origins import Origins
from edge.observability import Metrics
from edge.ports.tracing import NO_TRACER
from edge.services.keys import KeyRing
from edge.services.tokens import Tokens, mint
from edge.storage.key_files import KeyFiles
from edge.tracing import QUEUE_SPANS_MAX, build_tracer
from skerry_client.tracing import fresh_traceparent, traced

SECRETS = ("ada-the-person", "sesame-body", "sesame-query", "sesame-error")
PUSH = "/v1/sync/push"


class Collector:
    """An OTLP/HTTP collector: keeps what it is sent, as sent and decoded."""

    def __init__(self):
        self.bodies = bodies = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                bodies.append((self.path, body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def spans(self):
        """Return {(node, span name): span} of everything that has arrived."""
        found = {}
        for path, body in self.bodies:
            assert path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                about = {a.key: a.value.string_value for a in resource.resource.attributes}
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        found[about["service.instance.id"], span.name] = span
        return found


def attributes(span):
    kinds = ("string_value", "int_value")
    return {
        a.key: next(filter(None, (getattr(a.value, k) for k in kinds))) for a in span.attributes
    }


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


@pytest.fixture
def tracer_of(collector):
    made = []

    def build(node, url=None):
        tracer = build_tracer(
            collector.url if url is None else url,
            node=node, role="edge", region="eu", version="1",
        )  # fmt: skip
        made.append(tracer)
        return tracer

    yield build
    for tracer in made:
        tracer.close()


@pytest.fixture
def keys(tmp_path):
    return KeyFiles(tmp_path / "keys")


@pytest.fixture
def bearer(keys):
    token = mint(
        keys.development_key(),
        tenant=TenantId("main"),
        person=PersonId("ada-the-person"),
        is_admin=False,
        lifetime_s=600,
        now_unix_s=int(time.time()),
    )
    return {"authorization": f"Bearer {token}"}


def gate_of(routes, keys, tracer) -> Any:
    return Gate(
        routes,
        tokens=Tokens(KeyRing(keys), lifetime_s_max=86_400),
        metrics=Metrics(),
        origins=Origins(()),
        requests_in_flight_max=100,
        are_metrics_public=True,
        tracer=tracer,
    )


@asynccontextmanager
async def node(routes, keys, tracer):
    """Serve routes behind a real gate over real HTTP."""
    keys.development_key()
    config = uvicorn.Config(
        gate_of(routes, keys, tracer), port=0, lifespan="off", log_config=None, ws="none"
    )
    server = uvicorn.Server(config)
    served = asyncio.create_task(server.serve())
    while not server.started:
        assert not served.done()
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False
        ) as client:
            yield client
    finally:
        server.should_exit = True
        await served


async def answer(send, status=200):
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_a_push_is_one_trace_from_the_phone_to_the_primarys_commit(
    collector, tracer_of, keys, bearer
):
    on_edge, on_primary = tracer_of("edge-1"), tracer_of("primary")

    async def commit(scope, receive, send):
        scope["path_template"] = scope["path"]
        with on_primary.span("commit", mutations=3, tenant="main"):
            await answer(send)

    async with node(commit, keys, on_primary) as primary:

        async def relay(scope, receive, send):
            scope["path_template"] = scope["path"]
            with on_edge.span("relay", kind="client", tenant="main") as span:
                headers = on_edge.inject(scope["headers"])
                got = await primary.post(PUSH, headers=headers, content=b"sesame-body")
                span.put(status=got.status_code)
            await answer(send, got.status_code)

        async with node(relay, keys, on_edge) as edge:
            phone = fresh_traceparent()
            headers = traced({**bearer, "x-request-id": "request-12345"}, lambda: phone)
            got = await edge.post(PUSH + "?q=sesame-query", headers=headers, content=b"sesame-body")
            assert got.status_code == 200
    await asyncio.gather(asyncio.to_thread(on_edge.close), asyncio.to_thread(on_primary.close))

    spans = collector.spans()
    path = [
        ("edge-1", f"POST {PUSH}"), ("edge-1", "relay"),
        ("primary", f"POST {PUSH}"), ("primary", "commit"),
    ]  # fmt: skip
    assert spans.keys() == set(path)
    _, trace_id, phone_span, _ = phone.split("-")
    parent = bytes.fromhex(phone_span)
    for at in path:
        assert spans[at].trace_id.hex() == trace_id
        assert spans[at].parent_span_id == parent, at
        parent = spans[at].span_id
    request = attributes(spans[path[0]])
    assert request["skerry.tenant"] == "main"
    assert request["http.response.status_code"] == 200
    assert request["skerry.request_id"] == "request-12345"
    assert attributes(spans[path[3]])["skerry.mutations"] == 3
    whole = b"".join(body for _, body in collector.bodies)
    for secret in (*SECRETS, bearer["authorization"].removeprefix("Bearer ")):
        assert secret.encode() not in whole


async def test_an_error_is_told_by_its_type_alone(collector, tracer_of, keys, bearer):
    tracer = tracer_of("edge-1")

    async def fail(scope, receive, send):
        scope["path_template"] = "/v1/rows/{row}"
        with tracer.span("drain"):
            raise RuntimeError("sesame-error of ada-the-person")

    async with node(fail, keys, tracer) as edge:
        assert (await edge.get("/v1/rows/sesame-query", headers=bearer)).status_code == 500
    tracer.close()
    spans = collector.spans()
    assert spans["edge-1", "drain"].status.message == "RuntimeError"
    request = spans["edge-1", "GET /v1/rows/{row}"]
    assert request.status.code == spans["edge-1", "drain"].status.code != 0
    assert not request.events
    assert not any(secret.encode() in body for _, body in collector.bodies for secret in SECRETS)


@pytest.mark.parametrize(
    "named",
    [
        "", "x",
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "1" * 16 + "-01-" + "x" * 5_000,
    ],
)  # fmt: skip
def test_a_malformed_parent_is_none(collector, tracer_of, named):
    tracer = tracer_of("edge-1")
    with (
        tracer.span("outer"),
        tracer.span("request", kind="server", parent=named, links=[named]) as span,
    ):
        assert span.trace_id in (tracer.traceparent() or "")
    tracer.close()
    spans = collector.spans()
    assert not spans["edge-1", "request"].parent_span_id
    assert not spans["edge-1", "request"].links
    assert spans["edge-1", "request"].trace_id != spans["edge-1", "outer"].trace_id


def test_a_group_commit_names_some_of_its_pushes(collector, tracer_of):
    tracer = tracer_of("primary")
    pushes = [fresh_traceparent() for _ in range(500)]
    with tracer.span("commit", links=pushes, mutations=500):
        pass
    tracer.close()
    links = collector.spans()["primary", "commit"].links
    assert [link.trace_id.hex() for link in links] == [p.split("-")[1] for p in pushes[:32]]


def test_a_phone_that_is_not_sampled_is_not_traced(collector, tracer_of):
    tracer = tracer_of("edge-1")
    unsampled = fresh_traceparent()[:-2] + "00"
    with tracer.span("request", kind="server", parent=unsampled), tracer.span("relay"):
        assert (tracer.traceparent() or "").endswith("-00")
    tracer.close()
    assert collector.spans() == {}


def test_inject_names_the_span_in_place_of_the_phones(tracer_of):
    tracer = tracer_of("edge-1")
    sent = [(b"TraceParent", b"a"), (b"tracestate", b"b"), (b"accept", b"c")]
    assert tracer.inject(sent) == sent
    with tracer.span("relay"):
        own = (tracer.traceparent() or "").encode()
        assert tracer.inject(sent) == [(b"accept", b"c"), (b"traceparent", own)]


def test_an_attribute_nobody_has_decided_about_is_refused(tracer_of):
    tracer = tracer_of("edge-1")
    with pytest.raises(AssertionError, match="person"), tracer.span("request", person="ada"):
        pass
    with tracer.span("request") as span, pytest.raises(AssertionError, match="token"):
        span.put(token="t")


def test_a_collector_that_is_away_costs_a_bounded_queue(tracer_of, monkeypatch):
    monkeypatch.setattr("edge.tracing.CLOSE_S_MAX", 0.3)
    tracer = tracer_of("edge-1", "http://127.0.0.1:1")
    for _ in range(3 * QUEUE_SPANS_MAX):
        with tracer.span("request", kind="server"):
            pass
    assert 0 < len(tracer.processor._batch_processor._queue) <= QUEUE_SPANS_MAX
    tracer.close()
    assert not tracer.processor._batch_processor._worker_thread.is_alive()


async def test_probes_are_not_traced(collector, tracer_of, keys):
    tracer = tracer_of("edge-1")

    async def routes(scope, receive, send):
        scope["path_template"] = scope["path"]
        await answer(send)

    async with node(routes, keys, tracer) as edge:
        for path in ("/health/ready", "/health/fresh", "/metrics"):
            assert (await edge.get(path)).status_code == 200
        assert (await edge.get("/v1/spaces")).status_code == 401
    tracer.close()
    assert collector.spans().keys() == {("edge-1", "GET (none)")}


def test_without_a_collector_nothing_is_loaded():
    code = (
        "import sys, edge.app, edge.tracing\n"
        "t = edge.tracing.build_tracer('', node='n', role='edge', region='eu', version='1')\n"
        "with t.span('request', kind='server', parent='x', tenant='main') as s: s.put(status=500)\n"
        "assert t.inject([(b'a', b'b')]) == [(b'a', b'b')] and t.traceparent() is None\n"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry')]\n"
        "print(t.is_on, s.trace_id == '')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "False True\n", done.stderr


async def test_a_stream_hands_its_traceparent_to_what_is_done_on_it(tracer_of, keys, bearer):
    """A span of hours is of no use: the gate makes none, and leaves the header for links."""
    tracer = tracer_of("edge-1")
    seen = []

    async def routes(scope, receive, send):
        seen.append((scope["state"]["traceparent"], tracer.traceparent()))

    keys.development_key()
    gate = gate_of(routes, keys, tracer)
    phone = fresh_traceparent()
    given = [("traceparent", phone), *bearer.items()]
    headers = [(name.encode(), value.encode()) for name, value in given]
    scope: Any = {
        "type": "websocket",
        "path": "/v1/sync/stream",
        "headers": headers,
        "client": None,
    }
    unused: Any = None
    await gate(scope, unused, unused)
    scope = {**scope, "headers": [*headers, (b"traceparent", phone.encode())]}
    await gate(scope, unused, unused)
    assert seen == [(phone, None), (None, None)]


def test_the_default_tracer_is_none_at_all():
    with NO_TRACER.span("a") as one, NO_TRACER.span("b") as other:
        assert one is other
