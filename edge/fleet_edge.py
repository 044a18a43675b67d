"""An edge's databases: files that the sqld replica beside it keeps, and its own outbox."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from edge.errors import EdgeError, Unavailable
from edge.fleet_clock import now_ms, steady_ms
from edge.identity_wiring import IdentityEngines
from edge.ports.fleet import CONTROL
from edge.ports.tracing import NO_TRACER
from edge.repositories.database import TenantDatabase, tables_of
from edge.repositories.outbox import SqlOutbox
from edge.services.fleet.follower import Follower
from edge.services.fleet.lag import Lag, Position
from edge.services.fleet.provisional import ProvisionalSets
from edge.services.fleet.reporter import Replicated
from edge.services.fleet.standings import EdgeStanding
from edge.services.node import Node
from edge.storage.absent import AbsentEngine
from edge.storage.fleet_files import CONTROL_COMPLETE, namespace_of
from edge.storage.grouped import GroupedEngine
from edge.storage.sqlite import SqliteEngine
from edge.workers.supervise import PROCESSES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Never, TypeVar

    from core.ids import TenantId
    from core.schema.app import App
    from edge.ports.sql import SqlReader, SqlWriter
    from edge.ports.tracing import Tracer
    from edge.services.identity.trust import Trust
    from edge.services.standing import Accepted
    from edge.settings import Settings
    from edge.storage.fleet_files import ReplicaFiles
    from edge.storage.replica import ReplicaEngine

    T = TypeVar("T")

OUTBOX_FILE: Final = "outbox.db"
FIRST_COPY_SECONDS_MAX: Final = 60.0
"""How long an edge that starts waits for the control database; its supervisor tries again."""
FIRST_COPY_DELAY_S: Final = 0.1
WARM_EVERY_S: Final = 30.0
"""Far below the day after which sqld lets a database go cold, and often enough for its LRU."""
RESTARTED_POLL_S: Final = 0.25
"""A sqld that was started again copies nothing of a database that nobody has asked for."""
NEW_TENANTS_EVERY_S: Final = 0.25
_log = structlog.stdlib.get_logger(__name__)


class EdgeDatabases:
    """What an edge opens. `trust` is given once identity is built."""

    def __init__(
        self, app: App, settings: Settings, files: ReplicaFiles, *, tracer: Tracer = NO_TRACER
    ) -> None:
        self._settings = settings
        self._tables = tables_of(app)
        self.files = files
        self.trust: Trust | None = None
        self.lag = Lag(steady_ms)
        self.replicated = Replicated()
        self._outbox_file = SqliteEngine(settings.data / OUTBOX_FILE)
        self.outbox = SqlOutbox(
            GroupedEngine(self._outbox_file),
            mutations_max=settings.outbox_mutations_max,
            bytes_max=settings.outbox_bytes_max,
        )
        self.node = Node(
            app,
            tenants=(),
            open_database=self._open,
            now_ms=now_ms,
            on_commit=lambda _tenant, _result, _seconds: None,
            existing=self._served,
            standing_of=self._standing,
            tracer=tracer,
        )
        self.follower = Follower(
            self.node,
            stamp=lambda tenant: files.stamp(namespace_of(tenant)),
            on_reached=lambda tenant, database, sequence: self.lag.reached(
                tenant, Position(database, sequence)
            ),
        )
        self.sets = ProvisionalSets(app, self.outbox, on_changed=self._provisional_changed)
        self.engines = IdentityEngines(
            CopiedEngine(files, CONTROL),
            AbsentEngine("This node keeps no secrets: only the primary does."),
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def open_outbox(self) -> None:
        """Open what was accepted and not judged yet."""
        await self._outbox_file.open()
        await self.outbox.open()

    def start(self) -> None:
        """Follow the replica, keep it warm, and open tenants as they come."""
        self.follower.start()
        self._tasks = [
            asyncio.create_task(self._warm(), name="warm"),
            asyncio.create_task(self._open_tenants(), name="open-tenants"),
        ]

    async def missing(self) -> list[str]:
        """Return the databases that this node could not lead with: it has no whole copy."""
        return await self.files.missing([CONTROL, *map(namespace_of, self._served())])

    async def close(self) -> None:
        """Stop, and close the outbox."""
        self.sets.close()
        await self.follower.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.files.spares.settled()
        await self.outbox.close()

    async def _open(self, tenant: TenantId) -> TenantDatabase:
        """Open a tenant's replica once it has come to where the primary had made it."""
        engine = await self.files.open(namespace_of(tenant))
        database = TenantDatabase(engine, self._tables, is_replica=True)
        try:
            if await database.read(lambda unit: unit.meta.get("database")) is None:
                raise Unavailable("The replica is being copied.")  # noqa: TRY301
        except Unavailable:
            await database.close()
            raise
        return database

    def _served(self) -> list[TenantId]:
        return [] if self.trust is None else self.trust.served_in(self._settings.region)

    def _standing(self, tenant: TenantId) -> EdgeStanding:
        return EdgeStanding(
            tenant,
            self.follower,
            self.replicated,
            self.lag,
            accepted=self._accepted,
            wait_s=self._settings.read_wait_ms / 1_000,
        )

    async def _accepted(self, tenant: TenantId) -> Sequence[Accepted]:
        return await self.sets.of_tenant(tenant).accepted()

    def _provisional_changed(self, tenant: TenantId) -> None:
        live = self.node.live_of(tenant)
        if live is not None:
            live.provisional_changed()

    async def _warm(self) -> None:
        """Ask for every database now and then, and at once when sqld was started again."""
        warmed, warmed_at = self._sqld_pid(), time.monotonic()
        while True:
            await asyncio.sleep(RESTARTED_POLL_S)
            await self._drop_spares()
            pid = self._sqld_pid()
            if pid == warmed and time.monotonic() - warmed_at < WARM_EVERY_S:
                continue
            warmed, warmed_at = pid, time.monotonic()
            for namespace in self.files.namespaces():
                try:
                    await self.files.warm(namespace)
                except EdgeError as error:
                    warmed = None  # it is not ready yet: the next round asks again
                    _log.warning("replica-not-warm", database=namespace, reason=error.message)

    async def _drop_spares(self) -> None:
        try:
            await self.files.drop_spares({CONTROL, *map(namespace_of, self._served())})
        except (EdgeError, OSError) as error:
            _log.warning("spares-not-dropped", reason=str(error))

    def _sqld_pid(self) -> int | None:
        """Return which process sqld is, as its supervisor says."""
        try:
            return msgspec.json.decode((self._settings.data / PROCESSES).read_bytes())["sqld"]
        except (OSError, msgspec.MsgspecError, KeyError, TypeError):
            return None

    async def _open_tenants(self) -> None:
        """Open the databases of tenants that are served here and not open yet."""
        while True:
            for tenant in set(self._served()) - set(self.node.tenants()):
                try:
                    await self.node.tenant(tenant)
                except EdgeError as error:
                    _log.warning("tenant-not-here-yet", tenant=tenant, reason=error.message)
            await asyncio.sleep(NEW_TENANTS_EVERY_S)


class CopiedEngine:
    """A replica's database that is opened with the node: it waits for the first copy."""

    def __init__(self, files: ReplicaFiles, namespace: str) -> None:
        self._files = files
        self._namespace = namespace
        self._engine: ReplicaEngine | None = None

    async def open(self) -> None:
        """Wait, bounded, until sqld has the database; raises Unavailable."""
        deadline = asyncio.get_running_loop().time() + FIRST_COPY_SECONDS_MAX
        while True:
            try:
                self._engine = await self._files.open(self._namespace)
                # A copy goes through what the primary's database went through, from the beginning.
                if await self._engine.read(lambda sql: sql.one(CONTROL_COMPLETE)) is None:
                    raise Unavailable("The replica is being copied.")  # noqa: TRY301
            except Unavailable:
                await self.close()
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(FIRST_COPY_DELAY_S)
            else:
                return

    async def read(self, work: Callable[[SqlReader], T]) -> T:
        """Run `work` on a snapshot."""
        return await self._opened().read(work)

    async def write(self, work: Callable[[SqlWriter], object]) -> Never:
        """Refuse."""
        raise Unavailable("Only the primary writes.")

    async def scrub(self) -> bool:
        """Do nothing: the primary does it."""
        return True

    async def close(self) -> None:
        """Close."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()

    def _opened(self) -> ReplicaEngine:
        if self._engine is None:
            raise Unavailable("The replica has not been copied yet.")
        return self._engine
