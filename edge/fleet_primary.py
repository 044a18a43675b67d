"""A primary's databases: working copies in the data folder, the truth at the sqld beside it."""

from __future__ import annotations

import asyncio
from secrets import token_hex
from typing import TYPE_CHECKING, Final

import structlog

from core.fleet import NodeState
from edge.fleet_clock import now_ms
from edge.identity_wiring import CONTROL_FILE, VAULT_FILE, IdentityEngines
from edge.ports.fleet import CONTROL
from edge.ports.tracing import NO_TRACER
from edge.repositories.database import TenantDatabase, tables_of
from edge.repositories.outbox import SqlOutbox
from edge.services.fleet.drain import Drain
from edge.services.fleet.own_outbox import OwnJudge
from edge.services.fleet.reports import Reports
from edge.services.fleet.standings import PrimaryStanding
from edge.services.node import Node
from edge.storage.fleet_files import LibsqlFiles, drop_copy, namespace_of
from edge.storage.grouped import GroupedEngine
from edge.storage.high_water import HighWaterFiles
from edge.storage.sqlite import SqliteEngine
from edge.storage.tenants import SUFFIX, TenantFiles

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from pathlib import Path

    from core.ids import TenantId
    from core.schema.app import App
    from edge.observability import Metrics
    from edge.ports.tracing import Tracer
    from edge.services.fleet.leading import Leading
    from edge.services.identity.trust import Trust
    from edge.services.ingest.commit import CommitResult
    from edge.settings import Settings

OUTBOX_FILE: Final = "outbox.db"
TENANTS_FOLDER: Final = "tenants"
MARKS_FOLDER: Final = "high-water"
DATABASE_ID_BYTES: Final = 8
_log = structlog.stdlib.get_logger(__name__)


class PrimaryDatabases:
    """What a primary opens. `trust` is given once identity is built."""

    def __init__(
        self,
        app: App,
        settings: Settings,
        metrics: Metrics,
        *,
        epoch: int,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._epoch = epoch
        self._tables = tables_of(app)
        self._folder = settings.data / TENANTS_FOLDER
        self._marks = HighWaterFiles(settings.data / MARKS_FOLDER)
        self.trust: Trust | None = None
        self.leading: Leading | None = None
        """Given once who leads is wired, as trust is."""
        self.files = LibsqlFiles(
            settings.sqld_folder,
            http=settings.sqld_http,
            admin=settings.sqld_admin,
            epoch=lambda: epoch,
            tracer=tracer,
        )
        self.reports = Reports(others=self._others, now_ms=now_ms)
        self.node = Node(
            app,
            tenants=settings.tenants,
            open_database=self._open,
            now_ms=now_ms,
            on_commit=self._committed,
            existing=TenantFiles(self._folder, synchronous="NORMAL").existing,
            mark=self._marks.write,
            erase=self._erase,
            standing_of=self._standing,
            tracer=tracer,
        )
        self.engines = IdentityEngines(
            self.files.engine(CONTROL, settings.data / CONTROL_FILE),
            SqliteEngine(settings.data / VAULT_FILE),
        )

    async def drain_own(self, stack: AsyncExitStack) -> None:
        """Judge what this node accepted while it was an edge, for as long as `stack` lasts."""
        settings, trust = self._settings, self.trust
        if trust is None or not (settings.data / OUTBOX_FILE).exists():
            return
        file = SqliteEngine(settings.data / OUTBOX_FILE)
        outbox = SqlOutbox(
            GroupedEngine(file),
            mutations_max=settings.outbox_mutations_max,
            bytes_max=settings.outbox_bytes_max,
        )
        stack.push_async_callback(outbox.close)
        await file.open()
        await outbox.open()
        drain = Drain(
            outbox,
            OwnJudge(self.node, trust, own=settings.node, now_ms=now_ms),
            now_ms=now_ms,
            on_settled=lambda _tenant: None,
            on_refused=lambda _tenant, _device: None,
        )
        drain.start()
        stack.push_async_callback(drain.close)

    async def _open(self, tenant: TenantId) -> TenantDatabase:
        engine = self.files.engine(namespace_of(tenant), self._copy(tenant))
        await engine.open()
        database = TenantDatabase(engine, self._tables)
        await database.migrate(self._app, new_database_id=token_hex(DATABASE_ID_BYTES))
        mark = self._marks.read(tenant)
        if mark is not None and await database.renew_if_behind(
            *mark, new_database_id=token_hex(DATABASE_ID_BYTES)
        ):
            _log.warning("database-behind-its-mark", tenant=tenant, sequence=mark[1])
        new_id = token_hex(DATABASE_ID_BYTES)
        if await database.begin_epoch(self._epoch, new_database_id=new_id):
            _log.warning("database-taken-over", tenant=tenant, epoch=self._epoch)
        return database

    def _standing(self, tenant: TenantId) -> PrimaryStanding:
        return PrimaryStanding(
            tenant,
            self.reports,
            database=self.node.database_id,
            is_in_doubt=self._is_in_doubt,
        )

    def _is_in_doubt(self) -> bool:
        return self.leading is not None and self.leading.is_in_doubt

    async def _erase(self, tenant: TenantId) -> None:
        await self.files.destroy(namespace_of(tenant))
        await asyncio.to_thread(drop_copy, self._copy(tenant))
        await asyncio.to_thread(self._marks.erase, tenant)

    def _copy(self, tenant: TenantId) -> Path:
        return self._folder / f"{tenant}{SUFFIX}"

    def _committed(self, _tenant: TenantId, result: CommitResult, seconds: float) -> None:
        self._metrics.committed(result.mutations, seconds)

    def _others(self, tenant: str) -> list[str]:
        """Return the other nodes, or those that serve a tenant."""
        if self.trust is None:
            return []
        found = self.trust.tenant(tenant)
        regions = () if found is None else found.regions
        return [
            entry.node
            for entry in self.trust.nodes()
            if entry.node != self._settings.node
            and entry.state is NodeState.JOINED
            and (not regions or not entry.region or entry.region in regions)
        ]
