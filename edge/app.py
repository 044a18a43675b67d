"""The composition root: the one place where settings, storage, services and endpoints meet."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from secrets import token_hex
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

import structlog
from litestar import Litestar, Request, Response

from edge.controllers.administration import AdministrationController
from edge.controllers.admission import Admission
from edge.controllers.conflicts import ConflictsController
from edge.controllers.docs import DocsController
from edge.controllers.exports import Exports
from edge.controllers.forwarding import ForwardWrites
from edge.controllers.gate import Gate
from edge.controllers.health import HealthController
from edge.controllers.invitations import InvitationsController
from edge.controllers.me import MeController
from edge.controllers.metrics import MetricsController
from edge.controllers.operators import OperatorController
from edge.controllers.origins import Origins
from edge.controllers.receipts import ReceiptsController
from edge.controllers.rows import RowsController
from edge.controllers.spaces import SpacesController
from edge.controllers.stream import StreamController, StreamLimits
from edge.controllers.sync import SyncController
from edge.controllers.ways_in import WaysIn
from edge.dto.identity_operations import IDENTITY_POLICIES
from edge.dto.policies import all_policies, require_policies
from edge.identity_wiring import build_identity, build_limits, new_limits_secret, prepare_limits
from edge.observability import Metrics, configure_logs
from edge.problems import problem_of, unforeseen
from edge.repositories.database import TenantDatabase, tables_of
from edge.services.keys import KeyRing
from edge.services.node import Node
from edge.services.tokens import Tokens
from edge.storage.high_water import HighWaterFiles
from edge.storage.key_files import KeyFiles
from edge.storage.sqlite import SqliteEngine
from edge.storage.tenants import SUFFIX, TenantFiles
from edge.workers.serve import serve
from edge.workers.serve_follow import follow
from edge.workers.serve_many import WRITER, WRITER_SOCKET, serve_many

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from litestar.handlers import HTTPRouteHandler
    from litestar.types import ASGIApp

    from core.ids import TenantId
    from core.schema.app import App
    from edge.controllers.writer_link import WriterLink
    from edge.identity_wiring import OpenedIdentity
    from edge.services.identity.identity import Identity
    from edge.services.ingest.commit import CommitResult
    from edge.services.keys import TokenTrust
    from edge.services.limits import Limits
    from edge.settings import Settings

TENANTS_FOLDER: Final = "tenants"
MARKS_FOLDER: Final = "high-water"
DATABASE_ID_BYTES: Final = 8
_log = structlog.stdlib.get_logger(__name__)


def run_node(app: App, settings: Settings) -> None:
    """Serve an app until the process is told to stop; raises Unavailable when it cannot start."""
    configure_logs(settings.log_level)
    secret = new_limits_secret()
    if settings.workers == 1:

        def build_only() -> Gate:
            prepare_limits(settings)  # the folder's lock is held here
            return build_application(app, settings, secret=secret)

        serve(build_only, settings)
        return
    KeyFiles(settings.keys_folder).development_key()

    def build(index: int) -> Gate:
        make = build_application if index == WRITER else build_reader
        return make(app, settings, secret=secret)

    serve_many(build, settings, prepare=lambda: prepare_limits(settings))


def build_application(app: App, settings: Settings, *, secret: bytes) -> Gate:
    """Build everything one process serves; databases open when the server starts."""
    metrics = Metrics()
    node = build_node(app, settings, metrics)
    metrics.follow_sequences(node.sequences)
    metrics.follow_forgotten_pokes(node.forgotten_pokes)
    limits = build_limits(settings, secret)
    identity = build_identity(app, settings, node, limits=limits, is_writer=True)
    return build_gate(node, settings, metrics=metrics, identity=identity, limits=limits)


def build_reader(app: App, settings: Settings, *, secret: bytes) -> Gate:
    """Build what a reading worker serves: its own reads, everything else through the writer."""
    from edge.controllers.writer_link import WriterLink  # noqa: PLC0415  (only readers need httpx)

    metrics = Metrics()
    files = TenantFiles(settings.data / TENANTS_FOLDER, synchronous="FULL")
    tables = tables_of(app)

    async def open_database(tenant: TenantId) -> TenantDatabase:
        path = settings.data / TENANTS_FOLDER / f"{tenant}{SUFFIX}"
        engine = SqliteEngine(path, is_writer=False)
        await engine.open()
        return TenantDatabase(engine, tables)

    node = Node(
        app,
        tenants=settings.tenants,
        open_database=open_database,
        now_ms=lambda: time_ns() // 1_000_000,
        on_commit=lambda _tenant, _result, _seconds: None,
        existing=files.existing,
    )
    metrics.follow_sequences(node.sequences)
    metrics.follow_forgotten_pokes(node.forgotten_pokes)
    writer = WriterLink(settings.data / WRITER_SOCKET)
    limits = build_limits(settings, secret)
    identity = build_identity(app, settings, node, limits=limits, is_writer=False)
    return build_gate(
        node, settings, metrics=metrics, writer=writer, identity=identity, limits=limits
    )


def build_node(app: App, settings: Settings, metrics: Metrics) -> Node:
    """Build the services over SQLite files in the data folder."""
    marks = HighWaterFiles(settings.data / MARKS_FOLDER)
    synchronous = "NORMAL" if settings.synchronous == "normal" else "FULL"
    files = TenantFiles(settings.data / TENANTS_FOLDER, synchronous=synchronous)
    tables = tables_of(app)

    async def open_database(tenant: TenantId) -> TenantDatabase:
        database = TenantDatabase(await files.open(tenant), tables)
        await database.migrate(app, new_database_id=token_hex(DATABASE_ID_BYTES))
        mark = marks.read(tenant)
        if mark is not None and await database.renew_if_behind(
            *mark, new_database_id=token_hex(DATABASE_ID_BYTES)
        ):
            _log.warning("database-behind-its-mark", tenant=tenant, sequence=mark[1])
        return database

    def erase(tenant: TenantId) -> None:
        files.erase(tenant)
        marks.erase(tenant)

    def on_commit(_tenant: TenantId, result: CommitResult, seconds: float) -> None:
        metrics.committed(result.mutations, seconds)

    return Node(
        app,
        tenants=settings.tenants,
        open_database=open_database,
        now_ms=lambda: time_ns() // 1_000_000,
        on_commit=on_commit,
        existing=files.existing,
        mark=marks.write,
        erase=erase,
    )


def existing_tenants(settings: Settings) -> list[TenantId]:
    """Return the tenants that have a database in the data folder."""
    return TenantFiles(settings.data / TENANTS_FOLDER, synchronous="FULL").existing()


def build_gate(
    node: Node,
    settings: Settings,
    *,
    metrics: Metrics | None = None,
    writer: WriterLink | None = None,
    identity: OpenedIdentity | None = None,
    limits: Limits | None = None,
) -> Gate:
    """Put the endpoints of a node behind the gate; the result is the ASGI application.

    With a `writer`, the node only reads, and writes are forwarded. Without `identity` there are no
    ways in: only tokens of an operator's own keys are taken.
    """
    metrics = metrics or Metrics()
    keys = KeyFiles(settings.keys_folder)
    keys.development_key()
    routes: ASGIApp = build_routes(node, settings, metrics, writer, identity)
    trust: TokenTrust = KeyRing(keys) if identity is None else identity.identity.trust
    return Gate(
        routes if writer is None else ForwardWrites(routes, writer),
        tokens=Tokens(trust, lifetime_s_max=settings.token_lifetime_s_max),
        metrics=metrics,
        origins=Origins(settings.origins),
        requests_in_flight_max=settings.requests_in_flight_max,
        are_metrics_public=settings.are_metrics_public,
        has_identity=identity is not None,
        limits=limits,
        address_header=settings.address_header,
    )


def build_routes(
    node: Node,
    settings: Settings,
    metrics: Metrics,
    writer: WriterLink | None = None,
    identity: OpenedIdentity | None = None,
) -> Litestar:
    """Make the framework's application; without the gate around it, every request is refused."""

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncGenerator[None]:
        if writer is not None:
            await writer.wait_until_ready()
        await (node.open() if identity is None else identity.open(node))
        follower = asyncio.create_task(follow(node)) if writer is not None else None
        try:
            yield
        finally:
            if follower is not None:
                follower.cancel()
            await node.close()
            if identity is not None:
                await identity.close()
            if writer is not None:
                await writer.close()

    bounds = StreamLimits(
        streams_max=settings.streams_max,
        streams_per_person_max=settings.streams_per_person_max,
        send_timeout_s=settings.stream_send_timeout_s,
    )
    collections = node.app.collections.values()
    streams = StreamController(node, metrics, bounds, writer=writer)
    policies = all_policies(node.app.collections, IDENTITY_POLICIES)
    routes = Litestar(
        route_handlers=[
            SyncController(node, metrics).router(),
            *streams.routes(),
            *(RowsController(node, declared).router() for declared in collections),
            *ReceiptsController(node).routes(),
            *ConflictsController(node).routes(),
            *SpacesController(node).routes(),
            *InvitationsController(node).routes(),
            *HealthController(node).routes(),
            *MetricsController(metrics).routes(),
            *DocsController(node.app).routes(),
            *([] if identity is None else identity_routes(node, identity.identity, streams)),
        ],
        guards=[Admission(policies)],
        exception_handlers={Exception: answer_error},
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
        debug=False,
    )
    require_policies(_operations(routes), policies)
    return routes


def identity_routes(
    node: Node, identity: Identity, streams: StreamController
) -> list[HTTPRouteHandler]:
    """Make the endpoints of identity; streams end when their session does."""
    identity.trust.listen(streams.revoked)
    exports = Exports(node, identity)
    return [
        *WaysIn(identity).routes(),
        *MeController(identity, exports).routes(),
        *AdministrationController(node, identity, exports).routes(),
        *OperatorController(identity, exports).routes(),
    ]


def _operations(routes: Litestar) -> set[str]:
    handlers = [handler for route in routes.routes for handler in _handlers_of(route)]
    return {handler.name or f"(unnamed) {handler}" for handler in handlers}


def _handlers_of(route: Any) -> list[Any]:  # noqa: ANN401  (an HTTP, WebSocket or ASGI route)
    """Return a route's handlers, without the OPTIONS handler that the framework makes."""
    found = getattr(route, "route_handlers", None) or [route.route_handler]
    return [handler for handler in found if "OPTIONS" not in getattr(handler, "http_methods", ())]


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer an error with its problem document; the unforeseen is logged, and not told."""
    request_id = str(request.scope["state"].get("request_id", ""))
    problem = problem_of(error)
    if problem is None:
        _log.error("request-failed", exc_info=error, request_id=request_id)
        problem = unforeseen()
    headers = problem.all_headers()
    return Response(
        problem.body(request_id),
        status_code=problem.http_status,
        media_type=headers.pop("content-type"),
        headers=headers,
    )
