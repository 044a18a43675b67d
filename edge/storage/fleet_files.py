"""Where a fleet node's databases are: the primary's at its sqld, an edge's in its sqld's folder."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

import aiohttp

from core.ids import TenantId, require_id
from edge.errors import EdgeError, Unavailable
from edge.ports.tracing import NO_TRACER
from edge.storage.libsql import LibsqlEngine
from edge.storage.replica import ReplicaEngine
from edge.storage.spares import WHOLE
from edge.storage.sqld import SqldDatabase, SqldServer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from edge.ports.tracing import Tracer
    from edge.storage.spares import Spares

CONTROL_COMPLETE: Final = "SELECT epoch FROM ct_primary"
"""Returns a row once a control database has all its tables: the first primary writes it last."""
TENANT_PREFIX: Final = "t-"
PROBE_EVERY_S: Final = 2.0
"""Finer than anybody scrapes metrics, and nothing to sqld."""
PROBE_S_MAX: Final = 1.0
"""It lies beside this node: an answer that takes longer is of no use to a commit either."""


def namespace_of(tenant: TenantId) -> str:
    """Return the name of a tenant's database at sqld."""
    return TENANT_PREFIX + require_id(tenant, kind="tenant id")


class LibsqlFiles:
    """The databases of a primary: working copies in the data folder, the truth at its sqld."""

    def __init__(
        self,
        sqld_folder: Path,
        *,
        http: str,
        admin: str,
        epoch: Callable[[], int],
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._folder = sqld_folder
        self._http = http
        self._admin = SqldServer(admin)
        self._epoch = epoch
        self._tracer = tracer
        self._engines: dict[str, LibsqlEngine] = {}
        self._is_paused = False

    def engine(self, namespace: str, copy: Path) -> LibsqlEngine:
        """Make the engine of one database; the caller opens it."""
        engine = LibsqlEngine(
            copy,
            SqldDatabase(self._http, namespace),
            self._admin,
            server_file=file_of(self._folder, namespace),
            epoch=self._epoch,
            tracer=self._tracer,
        )
        engine.pause(is_paused=self._is_paused)
        self._engines[namespace] = engine
        return engine

    async def destroy(self, namespace: str) -> None:
        """Drop a database whose engine is closed, here and on the replicas."""
        self._engines.pop(namespace, None)
        await self._admin.destroy(namespace)

    def pause(self, is_paused: bool) -> None:  # noqa: FBT001  (a switch)
        """Refuse all writes, or take them again."""
        self._is_paused = is_paused
        for engine in self._engines.values():
            engine.pause(is_paused=is_paused)

    async def fence_out(self, epoch: int) -> None:
        """Give every database an epoch that is not ours; tries all, then raises a failure."""
        failure: EdgeError | None = None
        for engine in list(self._engines.values()):
            try:
                await engine.fence_out(epoch)
            except EdgeError as error:
                failure = error
        if failure is not None:
            raise failure

    async def commits(self) -> dict[str, int]:
        """Return the count of batches by database."""
        return {name: await engine.commits() for name, engine in list(self._engines.items())}

    @property
    def rebuilds(self) -> int:
        """How often working copies were made anew."""
        return sum(engine.rebuilds for engine in self._engines.values())


class ReplicaFiles:
    """The databases of an edge: files that the sqld beside it keeps."""

    def __init__(self, sqld_folder: Path, *, http: str, spares: Spares) -> None:
        self._folder = sqld_folder
        self._http = http
        self._engines: dict[str, ReplicaEngine] = {}
        self.spares = spares

    async def open(self, namespace: str) -> ReplicaEngine:
        """Have a database copied here and open it; raises Unavailable while it cannot be."""
        await self.warm(namespace)
        engine = ReplicaEngine(
            file_of(self._folder, namespace), on_replaced=partial(self.spares.keep, namespace)
        )
        await engine.open()
        self._engines[namespace] = engine
        return engine

    async def warm(self, namespace: str) -> None:
        """Keep sqld from letting a database go cold: it fetches one at its first request."""
        database = SqldDatabase(self._http, namespace)
        try:
            await database.rows("SELECT 1")
        finally:
            await database.close()

    def stamp(self, namespace: str) -> object:
        """Return a value that changes with every commit that arrives."""
        engine = self._engines.get(namespace)
        return None if engine is None else engine.stamp()

    async def commits(self) -> dict[str, int]:
        """Return the count of batches by database, as far as they have arrived."""
        found: dict[str, int] = {}
        for name, engine in list(self._engines.items()):
            try:
                row = await engine.read(lambda sql: sql.one(WHOLE))
            except Unavailable:
                continue
            if row is not None:
                found[name] = row[0]
        return found

    async def missing(self, namespaces: Iterable[str]) -> list[str]:
        """Return those of which there is no whole copy here, nor a spare."""
        whole = await self.commits()  # what was thrown away is noticed by reading
        await self.spares.settled()
        return sorted({*namespaces} - {*whole, *self.spares.names()})

    async def drop_spares(self, served: Collection[str]) -> None:
        """Drop the spares of databases that are whole again, or not served here any more."""
        spare = self.spares.names()
        if spare:
            whole = await self.commits()
            for name in spare:
                if name in whole or name not in served:
                    self.spares.drop(name)

    def namespaces(self) -> list[str]:
        """Return the databases that are open."""
        return list(self._engines)


class SqldProbe:
    """Whether the sqld beside this node answers; asked now and then, so that metrics need not."""

    def __init__(self, http: str, *, every_s: float = PROBE_EVERY_S) -> None:
        self._url = f"http://{http}/health"
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self.is_up = False
        """As of the last answer, or of the lack of one; False before the first."""

    def start(self) -> None:
        """Ask on the running loop, until `close`."""
        self._task = asyncio.create_task(self._watch(), name="sqld-probe")

    async def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self.is_up = False

    async def _watch(self) -> None:
        timeout = aiohttp.ClientTimeout(total=PROBE_S_MAX)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                try:
                    async with session.get(self._url) as answer:
                        self.is_up = answer.ok
                except (aiohttp.ClientError, TimeoutError, OSError):
                    self.is_up = False
                await asyncio.sleep(self._every_s)


def file_of(sqld_folder: Path, namespace: str) -> Path:
    """Return the file in which sqld keeps a database."""
    return sqld_folder / "dbs" / namespace / "data"


def drop_copy(copy: Path) -> None:
    """Delete a working copy that nobody has open; the truth is elsewhere."""
    for suffix in ("-shm", "-wal", "-journal", ""):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)
