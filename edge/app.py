"""The composition root: the one place where settings, storage, services and endpoints meet."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from secrets import token_hex
from time import time_ns
from typing import TYPE_CHECKING, Final

import structlog

from core.fleet import Role
from edge.controllers.docs import skerry_version
from edge.controllers.forwarding import ForwardWrites
from edge.controllers.gate import Gate
from edge.controllers.origins import Origins
from edge.dto.fleet_operations import HAND_OVER, PROMOTE
from edge.identity_wiring import (
    build_identity,
    build_limits,
    identity_files,
    new_limits_secret,
    prepare_limits,
)
from edge.observability import MailReading, Metrics, configure_logs
from edge.ports.tracing import NO_TRACER
from edge.repositories.database import TenantDatabase, tables_of
from edge.routes import build_routes
from edge.services.keys import KeyRing
from edge.services.node import Node
from edge.services.tokens import Tokens
from edge.settings import SettingError
from edge.storage.high_water import HighWaterFiles
from edge.storage.key_files import KeyFiles
from edge.storage.sqlite import SqliteEngine
from edge.storage.tenants import SUFFIX, TenantFiles
from edge.tracing import build_tracer
from edge.workers.role_file import EXIT_ROLE_CHANGED, read_role
from edge.workers.serve import Ending, serve
from edge.workers.serve_follow import follow
from edge.workers.serve_many import WRITER, WRITER_SOCKET, serve_many

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from litestar import Litestar
    from litestar.types import ASGIApp

    from core.ids import TenantId
    from core.schema.app import App
    from edge.controllers.writer_link import WriterLink
    from edge.fleet_wiring import Fleet
    from edge.identity_wiring import OpenedIdentity
    from edge.ports.tracing import Tracer
    from edge.services.identity.identity import Identity
    from edge.services.ingest.commit import CommitResult
    from edge.services.keys import TokenTrust
    from edge.services.limits import Limits
    from edge.settings import Settings
    from edge.workers.role_file import NodeRole

TENANTS_FOLDER: Final = "tenants"
MARKS_FOLDER: Final = "high-water"
EDGE_PATHS: Final = frozenset({"/v1/sync/hello", "/v1/sync/push", PROMOTE, HAND_OVER})
"""POSTs that an edge handles itself: it hands devices' messages on in its own way."""
FALLBACK_PATHS: Final = frozenset({"/v1/auth/refresh"})
"""What an edge does itself while the primary is away: no refresh token is rotated then."""
DATABASE_ID_BYTES: Final = 8
_log = structlog.stdlib.get_logger(__name__)


def run_node(app: App, settings: Settings) -> None:
    """Serve an app until the process is told to stop; raises Unavailable when it cannot start."""
    configure_logs(settings.log_level)
    role = read_role(settings)
    if role.role is not Role.STANDALONE:
        run_fleet_node(app, settings, role)
        return
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


def run_fleet_node(app: App, settings: Settings, role: NodeRole) -> None:
    """Serve a fleet's primary or edge; exits with EXIT_ROLE_CHANGED to be started in a new role."""
    if settings.workers != 1:
        raise SettingError("a node of a fleet has one worker: workers must be 1")
    settings = replace(settings, role=role.role.value)
    ending = Ending()

    def build() -> Gate:
        prepare_limits(settings)  # the folder's lock is held here
        return build_fleet_application(app, settings, role, ending)

    serve(build, settings, ending)
    if ending.is_role_changed:
        sys.exit(EXIT_ROLE_CHANGED)


def build_fleet_application(app: App, settings: Settings, role: NodeRole, ending: Ending) -> Gate:
    """Build everything a fleet's node serves to phones; its other listener opens with it."""
    from edge.fleet_wiring import Fleet  # noqa: PLC0415  (a node by itself loads none of it)

    metrics, tracer = Metrics(), tracer_of(settings)
    fleet = Fleet(app, settings, role, metrics, ending, tracer=tracer)
    metrics.follow_sequences(fleet.node.sequences)
    metrics.follow_forgotten_pokes(fleet.node.forgotten_pokes)
    metrics.follow_fleet(fleet.reading)
    limits = build_limits(settings, new_limits_secret())
    identity = build_identity(
        app,
        settings,
        fleet.node,
        limits=limits,
        is_writer=fleet.primary is not None,
        engines=fleet.engines,
    )
    fleet.connect(identity, limits)
    return build_gate(
        fleet.node,
        settings,
        metrics=metrics,
        identity=identity,
        limits=limits,
        fleet=fleet,
        tracer=tracer,
    )


def build_application(app: App, settings: Settings, *, secret: bytes) -> Gate:
    """Build everything one process serves; databases open when the server starts."""
    metrics, tracer = Metrics(), tracer_of(settings)
    files = tenant_files(settings)
    engines = identity_files(settings, is_writer=True)
    node = build_node(app, settings, metrics, files, tracer=tracer)
    metrics.follow_sequences(node.sequences)
    metrics.follow_forgotten_pokes(node.forgotten_pokes)
    limits = build_limits(settings, secret)
    identity = build_identity(app, settings, node, limits=limits, is_writer=True, engines=engines)

    async def empty_logs() -> None:
        await files.empty_logs()
        await engines.empty_logs()

    return build_gate(
        node,
        settings,
        metrics=metrics,
        identity=identity,
        limits=limits,
        backups=_backups(settings, empty_logs),
        tracer=tracer,
    )


def _backups(
    settings: Settings, empty_logs: Callable[[], Awaitable[None]]
) -> AbstractAsyncContextManager[None] | None:
    if not settings.backup and not settings.backup_stream:
        return None
    from edge.backup_wiring import backing_up  # noqa: PLC0415  (only nodes that make backups)

    return backing_up(settings, os.environ, empty_logs=empty_logs)


def build_reader(app: App, settings: Settings, *, secret: bytes) -> Gate:
    """Build what a reading worker serves: its own reads, everything else through the writer."""
    from edge.controllers.writer_link import WriterLink  # noqa: PLC0415  (only readers need httpx)

    metrics, tracer = Metrics(), tracer_of(settings)
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
        tracer=tracer,
    )
    metrics.follow_sequences(node.sequences)
    metrics.follow_forgotten_pokes(node.forgotten_pokes)
    writer = WriterLink(settings.data / WRITER_SOCKET)
    limits = build_limits(settings, secret)
    identity = build_identity(app, settings, node, limits=limits, is_writer=False)
    return build_gate(
        node,
        settings,
        metrics=metrics,
        writer=writer,
        identity=identity,
        limits=limits,
        tracer=tracer,
    )


def tracer_of(settings: Settings) -> Tracer:
    """Start this process's tracer: after the fork, since a thread of its own hands spans over."""
    return build_tracer(
        settings.traces,
        node=settings.node,
        role=settings.role,
        region=settings.region,
        version=skerry_version(),
    )


def tenant_files(settings: Settings) -> TenantFiles:
    """Return the databases of a node by itself; with a stream, Litestream checkpoints them."""
    return TenantFiles(
        settings.data / TENANTS_FOLDER,
        synchronous="NORMAL" if settings.synchronous == "normal" else "FULL",
        checkpoints=not settings.backup_stream,
    )


def build_node(
    app: App,
    settings: Settings,
    metrics: Metrics,
    files: TenantFiles | None = None,
    *,
    tracer: Tracer = NO_TRACER,
) -> Node:
    """Build the services over SQLite files in the data folder."""
    marks = HighWaterFiles(settings.data / MARKS_FOLDER)
    files = files or tenant_files(settings)
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

    async def erase(tenant: TenantId) -> None:
        await asyncio.to_thread(files.erase, tenant)
        await asyncio.to_thread(marks.erase, tenant)

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
        tracer=tracer,
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
    fleet: Fleet | None = None,
    backups: AbstractAsyncContextManager[None] | None = None,
    tracer: Tracer = NO_TRACER,
) -> Gate:
    """Put the endpoints of a node behind the gate; the result is the ASGI application.

    With a `writer`, the node only reads, and writes are forwarded; so does an edge of a `fleet`.
    Without `identity` there are no ways in: only tokens of an operator's own keys are taken.
    """
    metrics = metrics or Metrics()
    keys = KeyFiles(settings.keys_folder)
    keys.development_key()
    opened: list[Gate] = []

    def life(_app: Litestar) -> AbstractAsyncContextManager[None]:
        if fleet is not None:
            return fleet.serving(opened[0])
        return serving(node, writer, identity, backups)

    routes: ASGIApp = build_routes(
        node,
        settings,
        metrics,
        upstream=writer if fleet is None else fleet.relay,
        identity=None if identity is None else identity.identity,
        fleet=fleet,
        tracer=tracer,
        lives=[lambda _app: closing(tracer), life],
    )
    if writer is not None:
        routes = ForwardWrites(routes, writer, tracer=tracer)
    elif fleet is not None and fleet.relay is not None:
        routes = ForwardWrites(
            routes, fleet.relay, local=EDGE_PATHS, fallback=FALLBACK_PATHS, tracer=tracer
        )
    if limits is not None:
        metrics.follow_refusals(lambda: limits.refused)
    is_writer = writer is None and (fleet is None or fleet.primary is not None)
    if identity is not None and is_writer:
        metrics.follow_mails(partial(mails_of, identity.identity))
    trust: TokenTrust = KeyRing(keys) if identity is None else identity.identity.trust
    gate = Gate(
        routes,
        tokens=Tokens(trust, lifetime_s_max=settings.token_lifetime_s_max),
        metrics=metrics,
        origins=Origins(settings.origins),
        requests_in_flight_max=settings.requests_in_flight_max,
        are_metrics_public=settings.are_metrics_public,
        has_identity=identity is not None,
        limits=limits,
        address_header=settings.address_header,
        tracer=tracer,
    )
    opened.append(gate)
    return gate


def mails_of(identity: Identity) -> MailReading:
    """Return what has become of the mails of this process."""
    mailer = identity.mailer
    return MailReading(
        waiting=mailer.waiting, sent=mailer.sent, failed=mailer.failed, dropped=mailer.dropped
    )


@asynccontextmanager
async def serving(
    node: Node,
    writer: WriterLink | None,
    identity: OpenedIdentity | None,
    backups: AbstractAsyncContextManager[None] | None,
) -> AsyncGenerator[None]:
    """Have everything open that a node by itself, or a reading worker, needs."""
    if writer is not None:
        await writer.wait_until_ready()
    await (node.open() if identity is None else identity.open(node))
    follower = asyncio.create_task(follow(node)) if writer is not None else None
    try:
        async with backups or nullcontext():
            yield
    finally:
        if follower is not None:
            follower.cancel()
        await node.close()
        if identity is not None:
            await identity.close()
        if writer is not None:
            await writer.close()


@asynccontextmanager
async def closing(tracer: Tracer) -> AsyncGenerator[None]:
    """Hand over the last spans once everything else is closed."""
    try:
        yield
    finally:
        await asyncio.to_thread(tracer.close)
