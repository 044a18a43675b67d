"""What stands in for the outside world: sockets, threads, sqld, key generation, logs.

Everything else of the product is the real code, the wiring included. Each substitution replaces
one name of one module; a name that is gone fails at once.
"""

import asyncio
import os
from contextlib import asynccontextmanager
from contextvars import Context

import structlog
from cryptography.hazmat.primitives.asymmetric import ed25519
from litestar import Litestar

import edge.app
import edge.fleet_edge
import edge.fleet_wiring
import edge.gateways.node_calls
import edge.routes
import edge.services.fleet.drain
import edge.services.fleet.follower
import edge.services.fleet.lag
import edge.services.fleet.reporter
import edge.services.identity.trust
import edge.services.maintenance
import edge.services.node
import edge.storage.fleet_files
import edge.storage.key_files
import edge.storage.replica
import edge.storage.sqlite
import skerry_client.syncing
from edge.controllers.admission import Admission
from edge.controllers.conflicts import ConflictsController
from edge.controllers.exports import Exports
from edge.controllers.fleet import FleetController
from edge.controllers.health import HealthController
from edge.controllers.operators import OperatorController
from edge.controllers.receipts import ReceiptsController
from edge.controllers.spaces import SpacesController
from edge.controllers.stream import StreamController, StreamLimits
from edge.controllers.sync import SyncController
from edge.dto.identity_operations import IDENTITY_POLICIES
from edge.dto.policies import all_policies
from edge.errors import Unavailable
from edge.ports.fleet import NodeAnswer
from edge.services.fleet.lag import Readiness
from edge.storage.fleet_files import SqldProbe
from edge.storage.spares import Spares
from skerry_client.link import LinkLost
from skerry_client.stream import StreamRefused
from skerry_client.transport import fault_of
from sync_protocol.codec import decode_server, encode
from sync_protocol.transport import STREAM_PATH
from tests.simulation.clock import PROCESS
from tests.simulation.network import Broken, Request, source_machine
from tests.simulation.remembered import remember
from tests.simulation.sqld import SimulatedDatabase, SimulatedServer, sqld_of_process

HOP_S_MAX = 0.000_6
SUBPROTOCOL = "skerry.v1.msgpack"
POLLS = {
    (edge.services.fleet.follower, "POLL_S"): 0.05,
    (edge.services.fleet.follower, "IDLE_POLLS"): 8,
    (edge.services.fleet.reporter, "REPORT_EVERY_MS"): 1_200,
    (edge.services.fleet.drain, "IDLE_S"): 4.0,
    (edge.services.fleet.drain, "DEVICES_AT_ONCE"): 4,
    (edge.services.identity.trust, "POLL_S"): 0.4,
    (edge.services.maintenance, "INTERVAL_S"): 12.0,
    (edge.services.maintenance, "ROUNDS_PER_RECLAIM"): 2,
    (edge.fleet_edge, "RESTARTED_POLL_S"): 1.0,
    (edge.fleet_edge, "WARM_EVERY_S"): 5.0,
}
"""Polls that find nothing cost most of a simulated second; these are slower, and do the same."""


class InlineConnection:
    """aiosqlite's connection without its thread: a unit of work is one stroke, after a hop."""

    def __init__(self, connect, iter_chunk_size=64):
        del iter_chunk_size
        self._connect = connect
        self._conn = None
        self._thread = type("Thread", (), {})()

    def __await__(self):
        return self._open().__await__()

    async def _open(self):
        await _hop()
        self._conn = self._connect()
        return self

    async def unit(self, work):
        await _hop()
        return work(self._conn)

    async def close(self):
        if self._conn is not None:
            self._conn.close()
            self._conn = None


async def _hop():
    await asyncio.sleep(source_machine().moments.random() * HOP_S_MAX)


class SimulatedCalls:
    """Calls from node to node, over the simulated network."""

    def __init__(self, _tls=None):
        """There are no connections to keep."""

    async def request(self, url, method, target, headers, body, *, deadline_s):
        machine = source_machine()
        world = machine.world
        named = [(name.lower(), value) for name, value in headers]
        named.append((b"content-length", str(len(body)).encode()))
        request = Request(method, target, named, body)
        try:
            host = world.machine_of(url).name
            async with asyncio.timeout(deadline_s):
                answer = await world.network.ask(machine, host, "internal", request)
        except TimeoutError:
            raise Unavailable(f"The node at {url} does not answer in time.") from None
        except (Broken, KeyError) as error:
            raise Unavailable(f"The node at {url} cannot be reached: {error}") from None
        found = {n.decode().lower(): v.decode() for n, v in answer.headers}
        return NodeAnswer(answer.status, found, answer.body)

    async def close(self):
        """There is nothing to close."""


class SimulatedStreamLink:
    """The phone's WebSocket, over the simulated network."""

    def __init__(self, stream):
        self._stream = stream

    @classmethod
    async def open(cls, url, token, *, traceparent=None):
        del url, traceparent
        phone = source_machine()
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": STREAM_PATH,
            "raw_path": STREAM_PATH.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"authorization", f"Bearer {token}".encode())],
            "client": (phone.name, 1),
            "server": ("node", 1),
            "subprotocols": [SUBPROTOCOL],
            "extensions": {"websocket.http.response": {}},
            "state": {},
        }
        try:
            async with asyncio.timeout(10):
                stream = await phone.world.network.stream(phone, phone.target(), "public", scope)
        except (Broken, TimeoutError) as problem:
            raise LinkLost(f"{type(problem).__name__}: {problem}") from problem
        if stream.refusal is not None:
            refusal = stream.refusal
            headers = {n.decode().lower(): v.decode() for n, v in refusal.headers}
            stream.close()
            raise StreamRefused(fault_of(refusal.status, refusal.body, None, headers=headers))
        return cls(stream)

    async def send(self, message):
        try:
            await self._stream.send(encode(message))
        except (Broken, OSError) as problem:
            raise LinkLost(str(problem)) from problem

    async def receive(self):
        try:
            return decode_server(await self._stream.receive())
        except Broken as problem:
            raise LinkLost(str(problem)) from problem

    async def close(self):
        self._stream.close()


class _SeededKeyType(type):
    def __instancecheck__(cls, instance):
        return isinstance(instance, ed25519.Ed25519PrivateKey)


class SeededKey(metaclass=_SeededKeyType):
    """Ed25519 keys made of the process's own random bytes."""

    @staticmethod
    def generate():
        return ed25519.Ed25519PrivateKey.from_private_bytes(os.urandom(32))


class SilentProbe(SqldProbe):
    """The probe of sqld for metrics: the supervisor knows."""

    def __init__(self, _http):
        self.is_up = True

    def start(self):
        """There is nobody to ask."""

    async def close(self):
        """There is nothing to end."""


class NoWatch:
    """The watch over deaf replicas: a simulated sqld asks again by itself."""

    def __init__(self, *_arguments, **_named):
        """There is nothing to watch."""

    def start(self):
        """There is nothing to start."""

    async def close(self):
        """There is nothing to end."""


class NoSpares(Spares):
    """Spare copies of what sqld throws away: the simulated one replaces a file in one stroke."""

    def keep(self, _namespace, reader):
        reader._conn.close()
        reader._conn = None


async def _nothing_missing(_edge):
    return []


class KnownFleet(edge.fleet_wiring.Fleet):
    """A node's part in its fleet, which the world can find."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        PROCESS.get().fleet = self


@asynccontextmanager
async def _internal_listener(application, _settings, _tls):
    process = PROCESS.get()
    process.internal = application
    try:
        yield
    finally:
        process.internal = None


def _build_routes(node, settings, metrics, *, upstream, identity, fleet, tracer, lives):
    """Make the routes that phones and operators of a simulation use; the rest costs time."""
    bounds = StreamLimits(
        streams_max=settings.streams_max,
        streams_per_person_max=settings.streams_per_person_max,
        send_timeout_s=settings.stream_send_timeout_s,
    )
    streams = StreamController(node, metrics, bounds, upstream=upstream, tracer=tracer)
    identity.trust.listen(streams.revoked)
    return Litestar(
        route_handlers=[
            SyncController(node, metrics, upstream=upstream).router(),
            *streams.routes(),
            *ReceiptsController(node).routes(),
            *ConflictsController(node).routes(),
            *SpacesController(node).routes(),
            *HealthController(node, fleet.readiness if fleet else Readiness).routes(),
            *OperatorController(identity, Exports(node, identity)).routes(),
            *FleetController(fleet.leading, fleet.overview).routes(),
        ],
        guards=[Admission(all_policies(node.app.collections, IDENTITY_POLICIES))],
        exception_handlers={Exception: edge.routes.answer_error},
        lifespan=[*lives],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
        debug=False,
    )


def _replace(module, name, value):
    assert hasattr(module, name), f"{module.__name__} has no {name}"
    setattr(module, name, value)


def _stamp(engine):
    """Return what changes with every commit that arrives at a replica."""
    return sqld_of_process().stamp(engine._path.parent.name)


def install():
    """Replace everything; there is no way back, so this process does nothing but simulate."""
    _replace(edge.storage.sqlite, "UnitConnection", InlineConnection)
    _replace(edge.storage.replica, "UnitConnection", InlineConnection)
    _replace(edge.storage.replica.ReplicaEngine, "stamp", _stamp)
    _replace(edge.storage.fleet_files, "SqldDatabase", SimulatedDatabase)
    _replace(edge.storage.fleet_files, "SqldServer", SimulatedServer)
    _replace(edge.storage.key_files, "Ed25519PrivateKey", SeededKey)
    _replace(edge.fleet_wiring, "SqldProbe", SilentProbe)
    _replace(edge.fleet_wiring, "ReplicaWatch", NoWatch)
    _replace(edge.fleet_wiring, "Spares", NoSpares)
    _replace(edge.fleet_edge.EdgeDatabases, "missing", _nothing_missing)
    _replace(edge.fleet_wiring, "HttpNodeCalls", SimulatedCalls)
    _replace(edge.gateways.node_calls, "HttpNodeCalls", SimulatedCalls)
    _replace(edge.fleet_wiring, "serve_internal", _internal_listener)
    _replace(edge.fleet_wiring, "Fleet", KnownFleet)
    _replace(edge.app, "build_routes", _build_routes)
    _replace(edge.services.node, "Context", _fresh_context)
    _replace(skerry_client.syncing, "StreamLink", SimulatedStreamLink)
    for (module, name), value in POLLS.items():
        _replace(module, name, value)
    remember(_replace)
    structlog.configure(processors=[_complaint], cache_logger_on_first_use=False)


def _fresh_context():
    """Return a context without a trace, as the product wants it, in the process that asks."""
    context = Context()
    context.run(PROCESS.set, PROCESS.get())
    return context


def _complaint(_logger, method, event):
    """Keep what the product calls an error: a request that met something unforeseen, above all."""
    process = PROCESS.get()
    if method in {"error", "exception", "critical"} and process is not None:
        process.machine.world.complaint(process, event)
    raise structlog.DropEvent
