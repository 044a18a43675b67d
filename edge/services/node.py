"""A node: the tenants it serves, each with its services."""

from __future__ import annotations

import asyncio
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING

from core.ids import TenantId, is_id
from edge.errors import InvalidQuery, Unavailable, UnknownTenant
from edge.ports.tracing import NO_TRACER
from edge.services.archive import Archive
from edge.services.devices import Devices
from edge.services.explain import Explain
from edge.services.history import Conflicts, Receipts
from edge.services.ingest.service import Ingest
from edge.services.invitations import Invitations
from edge.services.leases import Leases
from edge.services.live import Live
from edge.services.maintenance import Maintenance
from edge.services.members import Members
from edge.services.pulls import Pulls
from edge.services.rows import RowReads, RowWrites
from edge.services.spaces import Spaces
from edge.services.standing import STANDALONE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from core.schema.app import App
    from edge.ports.stores import Database, Unit
    from edge.ports.tracing import Tracer
    from edge.services.ingest.commit import CommitResult
    from edge.services.standing import Standing

    OpenDatabase = Callable[[TenantId], Awaitable[Database]]
    OnCommit = Callable[[TenantId, CommitResult, float], None]
    Mark = Callable[[TenantId, str, int], None]
    Erase = Callable[[TenantId], Awaitable[None]]
    StandingOf = Callable[[TenantId], Standing]


def _no_mark(_tenant: TenantId, _database: str, _sequence: int) -> None:
    """Reading processes mark nothing."""


def _position(unit: Unit) -> tuple[str, int]:
    return unit.meta.get("database"), unit.meta.get("sequence")


class Tenant:
    """One tenant's services on one database."""

    def __init__(
        self,
        tenant: TenantId,
        app: App,
        database: Database,
        *,
        now_ms: Callable[[], int],
        on_commit: OnCommit,
        mark: Callable[[str, int], None],
        standing: Standing = STANDALONE,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.id = tenant
        self.database = database
        self.standing = standing
        self.database_id = ""
        self.sequence = 0
        self._on_commit = on_commit
        self.live = Live(app, database, standing=standing)
        self.ingest = Ingest(
            app,
            database,
            now_ms=now_ms,
            on_commit=self._committed,
            standing=standing,
            tracer=tracer,
        )
        self.leases = Leases(app, database, self.ingest, now_ms=now_ms)
        self._mark = mark
        self.maintenance = Maintenance(
            database, now_ms=now_ms, reclaim_leases=self.leases.reclaim, mark=mark
        )
        self.devices = Devices(app, database, now_ms=now_ms, standing=standing)
        self.pulls = Pulls(
            app,
            database,
            acknowledge=self.maintenance.acknowledge,
            standing=standing,
            tracer=tracer,
        )
        self.rows = RowReads(app, database)
        self.writes = RowWrites(self.ingest, self.devices)
        self.receipts = Receipts(database)
        self.conflicts = Conflicts(app, database)
        self.members = Members(app, database, on_change=self.live.notify)
        self.spaces = Spaces(app, database, now_ms=now_ms, on_change=self.live.notify)
        self.invitations = Invitations(app, database, now_ms=now_ms, on_change=self.live.notify)
        self.explain = Explain(app, database, now_ms=now_ms)
        self.archive = Archive(
            app, database, tenant=tenant, live=self.live, devices=self.devices, now_ms=now_ms
        )

    def start(self) -> None:
        """Start the tenant's workers on the running loop."""
        self.ingest.start()
        self.live.start()
        if not self.standing.is_replica:
            self.maintenance.start()

    async def close(self) -> None:
        """Finish what is queued, end streams, close the database."""
        await self.live.close()
        await self.ingest.close()
        await self.maintenance.close()
        if not self.standing.is_replica:
            database, sequence = await self.database.read(_position)
            self._mark(database, sequence)
        await self.database.close()

    def _committed(self, result: CommitResult, seconds: float) -> None:
        self.sequence = result.sequence
        self.live.notify()
        self._on_commit(self.id, result, seconds)


class Node:
    """All tenants of one process. Tenants are made by name and opened at start."""

    def __init__(
        self,
        app: App,
        *,
        tenants: Iterable[TenantId],
        open_database: OpenDatabase,
        now_ms: Callable[[], int],
        on_commit: OnCommit,
        existing: Callable[[], list[TenantId]],
        mark: Mark = _no_mark,
        erase: Erase | None = None,
        standing_of: StandingOf = lambda _tenant: STANDALONE,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.app = app
        self._wanted = list(tenants)
        self._open_database = open_database
        self._now_ms = now_ms
        self._on_commit = on_commit
        self._existing = existing
        self._mark = mark
        self._erase = erase
        self._standing_of = standing_of
        self._tracer = tracer
        self._erasing: set[TenantId] = set()
        self._opening = asyncio.Lock()
        self._tenants: dict[TenantId, Tenant] = {}
        self._is_open = False

    @property
    def is_ready(self) -> bool:
        """Whether every tenant is open."""
        return self._is_open

    def why_not_ready(self) -> str | None:
        """Return why requests cannot be served, or None."""
        return None if self._is_open else "The node is starting or stopping."

    def configured(self) -> list[TenantId]:
        """Return the tenants that are configured or have a database."""
        return list(dict.fromkeys([*self._wanted, *self._existing()]))

    async def open(self, tenants: Iterable[TenantId] | None = None) -> None:
        """Open tenants (all there are, unless given): migrations run before the first request."""
        for tenant in self.configured() if tenants is None else tenants:
            await self._open(tenant)
        self._is_open = True

    async def close(self) -> None:
        """Finish and close every tenant."""
        self._is_open = False
        for tenant in self._tenants.values():
            await tenant.close()
        self._tenants.clear()

    async def tenant(self, tenant: TenantId) -> Tenant:
        """Return an open tenant; raises UnknownTenant."""
        found = self._tenants.get(tenant)
        if found is None and self._is_open and tenant in self._existing():
            # Another process of this node has made it since this one was started.
            async with self._opening:
                if tenant not in self._tenants and tenant not in self._erasing:
                    await self._open(tenant)
            found = self._tenants.get(tenant)
        if found is None:
            raise UnknownTenant("This node does not serve this tenant.")
        return found

    async def create_tenant(self, tenant: TenantId) -> None:
        """Make a tenant, or do nothing when it is there."""
        if not is_id(tenant):
            raise InvalidQuery("A tenant is named by an id of 1 to 64 characters.")
        if tenant in self._erasing:
            raise Unavailable("This tenant is being erased.")
        async with self._opening:
            if tenant not in self._tenants:
                await self._open(tenant)

    async def erase_tenant(self, tenant: TenantId) -> None:
        """Close a tenant and delete everything kept of it; raises UnknownTenant.

        Streams end and requests are refused from here on; after a failure, call it again. A tenant
        named in the settings comes back empty at the next start, any other one does not.
        """
        if self._erase is None:
            raise Unavailable("This process reads only.")
        if tenant not in self._tenants and tenant not in self._existing():
            raise UnknownTenant("This node does not serve this tenant.")
        self._erasing.add(tenant)
        try:
            found = self._tenants.pop(tenant, None)
            if found is not None:
                await found.close()
            await self._erase(tenant)
        finally:
            self._erasing.discard(tenant)

    def tenants(self) -> list[TenantId]:
        """Return the open tenants."""
        return list(self._tenants)

    def database_id(self, tenant: TenantId) -> str:
        """Return the id of an open tenant's database, else nothing."""
        found = self._tenants.get(tenant)
        return "" if found is None else found.database_id

    def live_of(self, tenant: TenantId) -> Live | None:
        """Return an open tenant's streams."""
        found = self._tenants.get(tenant)
        return None if found is None else found.live

    def stream_count(self) -> int:
        """Return how many streams are open, over all tenants."""
        return sum(tenant.live.stream_count for tenant in self._tenants.values())

    def forgotten_pokes(self) -> int:
        """Return how many pokes slow streams have lost since the start, over all tenants."""
        return sum(tenant.live.forgotten_pokes for tenant in self._tenants.values())

    def sequences(self) -> dict[str, int]:
        """Return each tenant's last committed sequence, as this process knows it."""
        return {str(name): tenant.sequence for name, tenant in self._tenants.items()}

    async def _open(self, name: TenantId) -> None:
        database = await self._open_database(name)
        tenant = Tenant(
            name,
            self.app,
            database,
            now_ms=self._now_ms,
            on_commit=self._on_commit,
            mark=partial(self._mark, name),
            standing=self._standing_of(name),
            tracer=self._tracer,
        )
        tenant.database_id, tenant.sequence = await database.read(_position)
        # Its workers outlive the request that may have opened it, and are no part of its trace.
        Context().run(tenant.start)
        self._tenants[name] = tenant
