"""Wiring of a fleet's node: its databases, its way to the other nodes, and who leads."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from core.fleet import Leadership, NodeEntry, NodeState, Role
from core.ids import TenantId
from edge.backup_wiring import backing_up
from edge.controllers.docs import skerry_version
from edge.controllers.internal import InternalParts, internal_routes
from edge.controllers.internal_gate import InternalGate
from edge.errors import Forbidden
from edge.fleet_clock import now_ms, steady_ms
from edge.fleet_edge import EdgeDatabases
from edge.fleet_primary import PrimaryDatabases
from edge.gateways.certificates import client_context, find_tls, server_context
from edge.gateways.node_calls import HttpNodeCalls
from edge.identity_wiring import VAULT_FILE
from edge.observability import BREAKER_STATES, FleetReading
from edge.ports.tracing import NO_TRACER
from edge.repositories.vault.database import SqlVaultDatabase
from edge.services.fleet.calls import SignedCalls
from edge.services.fleet.drain import Drain
from edge.services.fleet.hearing import Hearing
from edge.services.fleet.lag import Readiness
from edge.services.fleet.leading import Leading, LeadingParts
from edge.services.fleet.membership import Membership
from edge.services.fleet.node_tokens import NodeTokens
from edge.services.fleet.overview import Overview
from edge.services.fleet.peers import Peers
from edge.services.fleet.primary_link import PrimaryLink
from edge.services.fleet.relay import Relay
from edge.services.fleet.reporter import Reporter
from edge.storage.fleet_files import ReplicaFiles, SqldProbe
from edge.storage.spares import Spares
from edge.storage.sqld import FenceLost
from edge.storage.sqlite import SqliteEngine
from edge.workers.replica_watch import ReplicaWatch
from edge.workers.role_file import NodeRole, RoleFile
from edge.workers.serve_internal import serve_internal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from core.schema.app import App
    from edge.identity_wiring import OpenedIdentity
    from edge.observability import Metrics
    from edge.ports.tracing import Tracer
    from edge.services.fleet.node_tokens import NodeCaller
    from edge.services.limits import Limits
    from edge.services.node import Node
    from edge.settings import Settings
    from edge.workers.serve import Ending


class Fleet:
    """One node's part in its fleet, from its databases to its calls.

    Made first, so that identity can be built on its databases; `connect` then wires the rest.
    """

    def __init__(
        self,
        app: App,
        settings: Settings,
        role: NodeRole,
        metrics: Metrics,
        ending: Ending,
        *,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.settings = settings
        self.role = role.role
        self.epoch = max(1, role.epoch)
        self._role = role
        self._metrics = metrics
        self._ending = ending
        self._tracer = tracer
        self._sqld = SqldProbe(settings.sqld_http)
        self._tls = find_tls(
            settings.data, ca=settings.tls_ca, cert=settings.tls_cert, key=settings.tls_key
        )
        self.primary: PrimaryDatabases | None = None
        self.edge: EdgeDatabases | None = None
        if self.role is Role.PRIMARY:
            self.primary = PrimaryDatabases(app, settings, metrics, epoch=self.epoch, tracer=tracer)
            self._databases: PrimaryDatabases | EdgeDatabases = self.primary
        else:
            files = ReplicaFiles(
                settings.sqld_folder, http=settings.sqld_http, spares=Spares(settings.data)
            )
            self.edge = self._databases = EdgeDatabases(app, settings, files, tracer=tracer)
        self.node: Node = self._databases.node
        self.engines = self._databases.engines
        self._commits: dict[str, int] = {}

    def connect(self, identity: OpenedIdentity, limits: Limits) -> None:
        """Wire calls to other nodes, and who leads."""
        self._identity = identity
        services = identity.identity
        trust, settings = services.trust, self.settings
        self._databases.trust = self._trust = trust
        self._limits = limits
        self._tokens = NodeTokens(trust, services.signing)
        self._calls = HttpNodeCalls(None if self._tls is None else client_context(self._tls))
        signed = SignedCalls(self._calls, self._tokens, tracer=self._tracer)
        peers = Peers(signed)
        scheme = "http" if self._tls is None else "https"
        self.own = NodeEntry(
            settings.node,
            settings.region,
            settings.url or f"{scheme}://127.0.0.1:{settings.internal_port}",
            settings.grpc_url or f"{scheme}://{settings.sqld_grpc}",
            NodeState.JOINED,
            now_ms(),
        )
        self.link = PrimaryLink(
            signed,
            trust,
            fallback=self._first_leader(),
            url=settings.primary_url if settings.primary_url_fixed else "",
        )
        self.leading = Leading(
            LeadingParts(
                own=self.own,
                role=self.role,
                epoch=self.epoch,
                nodes=trust.nodes,
                leader=self._leader,
                peers=peers,
                sequences=self.node.sequences,
                commits=self._databases.files.commits,
                restart=self._restart,
                pause=self._pause,
                fence_out=self._fence_out,
                vault=self._vault,
                missing=self._missing,
            )
        )
        if self.primary is not None:
            self.primary.leading = self.leading
        self.overview = Overview(
            self.node,
            self.leading,
            peers,
            own=settings.node,
            entries=trust.nodes,
            commits=self._databases.files.commits,
            numbers=self._numbers,
            version=skerry_version(),
        )
        self.membership = Membership(
            services.control,
            services.vault if self.primary is not None else None,
            trust,
            entropy=os.urandom,
            now_ms=now_ms,
        )
        self.relay: Relay | None = None
        if self.edge is not None:
            self._connect_edge(self.edge)

    def _connect_edge(self, edge: EdgeDatabases) -> None:
        self.relay = Relay(
            self.node,
            self.link,
            edge.outbox,
            now_ms=now_ms,
            on_accepted=self._accepted,
            is_away=lambda: not edge.lag.is_primary_heard,
            tracer=self._tracer,
        )
        self.drain = Drain(
            edge.outbox,
            self.link,
            now_ms=now_ms,
            on_settled=edge.sets.changed,
            on_refused=edge.sets.refused,
            tracer=self._tracer,
        )
        self._reporter = Reporter(
            self.node,
            self.link,
            edge.follower,
            lag=edge.lag,
            leading=self.leading,
            replicated=edge.replicated,
            status=self._numbers,
            now_ms=steady_ms,
            on_heard=self.drain.wake,
        )

    @asynccontextmanager
    async def serving(self, public: Any) -> AsyncGenerator[None]:  # noqa: ANN401  (the gate)
        """Open the databases, serve the other nodes, take part; close everything afterwards."""
        async with AsyncExitStack() as stack:
            # Whatever fails to open is closed too: a thread left over would keep the process alive.
            self._sqld.start()
            stack.push_async_callback(self._sqld.close)
            if self.edge is not None:
                stack.push_async_callback(self.edge.close)
                await self.edge.open_outbox()
            stack.push_async_callback(self._calls.close)
            stack.push_async_callback(self._identity.close)
            stack.push_async_callback(self.node.close)
            if self.primary is not None:
                await self._open_primary()
            else:
                await self._identity.open(self.node)
                await self._identity.identity.signing.load()
            tls = None if self._tls is None else server_context(self._tls)
            listener = serve_internal(self._internal(public), self.settings, tls)
            await stack.enter_async_context(listener)
            stack.push_async_callback(self.leading.close)
            if self.edge is not None:
                self.edge.start()
                self.drain.start()
                stack.push_async_callback(self.drain.close)
                self._reporter.start()
                stack.push_async_callback(self._reporter.close)
                watch = ReplicaWatch(
                    self.edge.lag, self.settings.data, positions=self.edge.follower.sequences
                )
                watch.start()
                stack.push_async_callback(watch.close)
            else:
                await stack.enter_async_context(backing_up(self.settings, os.environ))
                assert self.primary is not None
                await self.primary.drain_own(stack)
                self.leading.announce()
            yield

    async def _open_primary(self) -> None:
        try:
            await self._lead()
        except FenceLost:
            # Ended after it had heard of another primary, and before it heard which: somebody may
            # know by now. Whom to ask is in its own copy, which can be read.
            await self._trust.refresh()
            await self._identity.identity.signing.load()
            await self.leading.ask_around()
            raise

    async def _lead(self) -> None:
        await self._identity.open(self.node)
        known = await self.membership.found(self.own, is_first=self.epoch == 1)
        if known.epoch < self.epoch or known.node != self.own.node:
            await self.membership.lead(
                Leadership(self.epoch, self.own.node, self.own.url, self.own.grpc_url)
            )
        await self.leading.ask_around()

    def _internal(self, public: Any) -> InternalGate:  # noqa: ANN401
        hearing = self._hearing()
        parts = InternalParts(
            node=self.node,
            own=self.own.node,
            trust=self._trust,
            membership=self.membership,
            metrics=self._metrics,
            now_ms=now_ms,
            is_primary=lambda: self.primary is not None,
            on_report=hearing.report,
            on_leadership=hearing.leadership,
            on_status=self._status,
            on_vault=self._take_vault,
        )
        return InternalGate(
            internal_routes(parts),
            public,
            tokens=self._tokens,
            limits=self._limits,
            refused=self.leading.wonder,
            requests_in_flight_max=self.settings.requests_in_flight_max,
            tracer=self._tracer,
        )

    def _hearing(self) -> Hearing:
        if self.primary is not None:
            reports = self.primary.reports
            return Hearing(self.node, self.leading, reports, now_ms=now_ms)
        return Hearing(self.node, self.leading, None, now_ms=now_ms)

    def readiness(self) -> Readiness:
        """Return whether phones are to be sent here."""
        if self.edge is None:
            return Readiness(detail={"role": "primary"})
        return self.edge.lag.readiness(self.settings.lag_ms_max)

    def reading(self) -> FleetReading:
        """Return what the metrics show."""
        if self.primary is not None:
            reports = self.primary.reports.newest()
            return FleetReading(
                is_primary=True,
                epoch=self.epoch,
                is_sqld_up=self._sqld.is_up,
                replicated={
                    name: self.primary.reports.replicated(
                        name, database=self.node.database_id(TenantId(name)), sequence=sequence
                    )
                    for name, sequence in self.node.sequences().items()
                },
                report_ages_ms={name: now_ms() - r.at_ms for name, r in reports.items()},
                rebuilds=self.primary.files.rebuilds,
            )
        assert self.edge is not None
        assert self.relay is not None
        lag = self.edge.lag
        waiting, size_bytes, oldest_ms = self.edge.outbox.known_depth()
        return FleetReading(
            is_primary=False,
            epoch=self.leading.known().epoch,
            is_sqld_up=self._sqld.is_up,
            lags={name: lag.behind(name) for name in lag.tenants()},
            replica_age_ms=lag.worst_ms(),
            outbox_mutations=waiting,
            outbox_bytes=size_bytes,
            outbox_oldest_ms=max(0, now_ms() - oldest_ms) if oldest_ms else 0,
            breaker=self.link.breaker_state,
            accepted=self.relay.accepted,
            drained=self.drain.counts.drained,
            refused=self.drain.counts.refused,
        )

    def _numbers(self) -> Mapping[str, float]:
        """Return what other nodes' operators see of this one."""
        reading = self.reading()
        numbers: dict[str, float] = {"streams": self.node.stream_count()}
        if self.edge is not None:
            behind = [lag[0] for lag in reading.lags.values()]
            numbers |= {
                "sequences_behind": max(behind, default=0),
                "outbox": reading.outbox_mutations,
                "outbox_age_s": reading.outbox_oldest_ms / 1_000,
                "breaker": BREAKER_STATES[reading.breaker],
            }
            if reading.replica_age_ms is not None:
                numbers["lag_ms"] = reading.replica_age_ms
        return numbers

    async def _status(self, _caller: NodeCaller) -> dict[str, Any]:
        return asdict(await self.overview.own())

    async def _take_vault(self, caller: NodeCaller, content: bytes) -> bytes:
        """Keep the vault that the primary hands over; only it may."""
        leader = self._leader()
        if self.edge is None or leader is None or caller.node != leader.node:
            raise Forbidden("Only the primary hands its vault over, to an edge.")
        engine = SqliteEngine(self.settings.data / VAULT_FILE)
        await engine.open()
        vault = SqlVaultDatabase(engine)
        try:
            await vault.migrate()
            await vault.load(content)
        finally:
            await vault.close()
        return b""

    async def _vault(self) -> bytes:
        return await self._identity.identity.vault.dump()

    def _accepted(self, tenant: Any) -> None:  # noqa: ANN401  (a TenantId)
        assert self.edge is not None
        self.edge.sets.changed(tenant)
        self.drain.wake()

    def _leader(self) -> Leadership | None:
        return self._trust.leadership()

    def _first_leader(self) -> Leadership | None:
        """Return whom an edge calls until the control database says who leads."""
        role = self._role
        if self.primary is not None or not role.primary_url:
            return None
        return Leadership(role.epoch, role.primary_node, role.primary_url, role.primary_grpc_url)

    def _restart(self, role: Role, claim: Leadership) -> None:
        leads, settings = role is Role.PRIMARY, self.settings
        if settings.primary_url_fixed and not leads:
            claim = replace(claim, url=settings.primary_url, grpc_url=settings.primary_grpc_url)
        to = ("", "", "") if leads else (claim.url, claim.grpc_url, claim.node)
        RoleFile(self.settings.data).write(NodeRole(role, claim.epoch, *to))
        self._ending.change_role()

    async def _missing(self) -> list[str]:
        return [] if self.edge is None else await self.edge.missing()

    def _pause(self, is_paused: bool) -> None:  # noqa: FBT001  (a switch)
        if self.primary is not None:
            self.primary.files.pause(is_paused)

    async def _fence_out(self, epoch: int) -> None:
        if self.primary is not None:
            await self.primary.files.fence_out(epoch)
