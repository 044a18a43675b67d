"""One tenant's database: an SQL engine with all repositories on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from zlib import crc32

from core.ids import DEVICE_NUMBER_MAX
from edge.repositories.archive import SqlArchive
from edge.repositories.conflicts import SqlConflicts
from edge.repositories.devices import SqlDevices
from edge.repositories.digests import SqlDigests
from edge.repositories.invitations import SqlInvitations
from edge.repositories.members import SqlMembers
from edge.repositories.meta import SqlMeta
from edge.repositories.migrations import migrate
from edge.repositories.receipts import SqlReceipts
from edge.repositories.rows import SqlRows
from edge.repositories.sql.table import Table
from edge.repositories.sql.undeclared import with_undeclared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.schema.app import App
    from edge.ports.sql import SqlEngine, SqlReader, SqlWriter
    from edge.ports.stores import Unit

T = TypeVar("T")

DEVICES_SKIPPED: Final = 100_000
"""More than a primary registers after a backup, or after its last replicated commit."""
DEVICES_SPREAD: Final = 1_000_000
"""Of two databases that go on from the same one, each begins somewhere else in a range of these:
together with what is skipped, 32 bits are enough for 7,000 take-overs."""
LINEAGE_MAX: Final = 1_000
"""Take-overs remembered; a device from before the oldest reads everything again."""


def tables_of(app: App) -> dict[str, Table]:
    """Generate the SQL of an app, once for all tenants."""
    return {name: Table(declared) for name, declared in app.collections.items()}


def _skip_devices(sql: SqlWriter, meta: SqlMeta, *, database: str) -> None:
    """Give no number again that another database may have given, and nobody here has heard of.

    A phone that still goes by such a number would take another phone's receipts for its own. The
    other one is the database that this one goes on from, which has skipped numbers itself if it
    went on from one before, and may live on; or a second one that goes on from it, too. Ids are
    random, and so is what follows from this one's.
    """
    (last,) = sql.one("SELECT coalesce(max(n), 0) FROM sk_device") or (0,)
    base = max(last, meta.get("device_floor") or 0)
    floor = base + DEVICES_SKIPPED + crc32(database.encode()) % DEVICES_SPREAD
    meta.set("device_floor", min(floor, DEVICE_NUMBER_MAX))


class SqlUnit:
    """All stores in one transaction (a read-only one fails on writes, in the database)."""

    def __init__(
        self, sql: SqlWriter, tables: Mapping[str, Table], *, fed: Mapping[str, Table] | None = None
    ) -> None:
        self._sql = sql
        self.meta = SqlMeta(sql)
        self.rows = SqlRows(sql, tables, fed=fed)
        self.devices = SqlDevices(sql)
        self.receipts = SqlReceipts(sql)
        self.members = SqlMembers(sql)
        self.invitations = SqlInvitations(sql)
        self.digests = SqlDigests(sql)
        self.conflicts = SqlConflicts(sql)
        self.archive = SqlArchive(sql, tables)

    def nested(self, work: Callable[[], T]) -> T:
        """Run `work` under a savepoint."""
        self._sql.run("SAVEPOINT nested")
        try:
            result = work()
        except BaseException:
            self._sql.run("ROLLBACK TO nested")
            self._sql.run("RELEASE nested")
            raise
        self._sql.run("RELEASE nested")
        return result


class TenantDatabase:
    """The Database port over any SqlEngine.

    `is_replica`: a newer program may migrate it at any time, and this one hands on what it reads.
    """

    def __init__(
        self, engine: SqlEngine, tables: Mapping[str, Table], *, is_replica: bool = False
    ) -> None:
        self._engine = engine
        self._tables = tables
        self._is_replica = is_replica
        self._fed: tuple[Any, Mapping[str, Table]] = (None, tables)

    async def migrate(self, app: App, *, new_database_id: str) -> None:
        """Bring the database to this program's format and this app's schema."""
        await self._engine.write(
            lambda sql: migrate(sql, app, self._tables.values(), new_database_id=new_database_id)
        )

    async def renew_if_behind(self, database: str, sequence: int, *, new_database_id: str) -> bool:
        """Give the database a new id if it is an older copy of one that was seen at `sequence`."""

        def renew(sql: SqlWriter) -> bool:
            meta = SqlMeta(sql)
            is_behind = meta.get("database") == database and meta.get("sequence") < sequence
            if is_behind:
                meta.set("database", new_database_id)
                _skip_devices(sql, meta, database=new_database_id)
            return is_behind

        return await self._engine.write(renew)

    async def begin_epoch(self, epoch: int, *, new_database_id: str) -> bool:
        """Note under which primary the database is; a later one than before gives it a new id.

        Devices that have read no further than this database has come read on: the old id stays in
        its `lineage` with the sequence at which the new one began.
        """

        def begin(sql: SqlWriter) -> bool:
            meta = SqlMeta(sql)
            known = meta.get("epoch")
            if known == epoch:
                return False
            meta.set("epoch", epoch)
            if known is None:
                return False
            lineage: list[Any] = meta.get("lineage") or []
            lineage.append([meta.get("database"), meta.get("sequence")])
            meta.set("lineage", lineage[-LINEAGE_MAX:])
            meta.set("database", new_database_id)
            _skip_devices(sql, meta, database=new_database_id)
            return True

        return await self._engine.write(begin)

    async def read(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on one snapshot."""
        return await self._engine.read(
            lambda sql: work(SqlUnit(cast("SqlWriter", sql), self._tables, fed=self._fed_from(sql)))
        )

    def _fed_from(self, sql: SqlReader) -> Mapping[str, Table]:
        """Return what devices are fed from: worked out anew when tables have changed."""
        if not self._is_replica:
            return self._tables
        at, tables = self._fed
        now = sql.one("PRAGMA schema_version")
        if at != now:
            schema = SqlMeta(cast("SqlWriter", sql)).get("schema")
            tables = self._tables if schema is None else with_undeclared(self._tables, schema)
            self._fed = (now, tables)  # at once: units of several threads read it
        return tables

    async def write(self, work: Callable[[Unit], T]) -> T:
        """Run `work` in the one write transaction."""
        return await self._engine.write(lambda sql: work(SqlUnit(sql, self._tables)))

    async def scrub(self) -> bool:
        """Leave no trace of deleted content in the files."""
        return await self._engine.scrub()

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()
