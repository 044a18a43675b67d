"""The control database: an SQL engine with its repositories on it."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, Final, TypeVar, cast

from edge.repositories.control.accounts import SqlAccounts
from edge.repositories.control.audit import SqlAudit
from edge.repositories.control.credentials import SqlCredentials
from edge.repositories.control.devices import SqlDeviceKeys
from edge.repositories.control.keys import SqlKeys
from edge.repositories.control.migrations import migrate
from edge.repositories.control.nodes import SqlNodes
from edge.repositories.control.revocations import SqlRevocations
from edge.repositories.control.sessions import SqlSessions
from edge.repositories.control.tenants import SqlTenants

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.ports.identity_stores import ControlUnit
    from edge.ports.sql import SqlEngine, SqlReader, SqlWriter

T = TypeVar("T")

DATABASE_ID_BYTES: Final = 16
"""Enough that no two databases ever get the same id."""


class ControlSqlUnit:
    """All stores in one transaction (a read-only one fails on writes, in the database)."""

    def __init__(self, sql: SqlWriter) -> None:
        self.tenants = SqlTenants(sql)
        self.accounts = SqlAccounts(sql)
        self.credentials = SqlCredentials(sql)
        self.devices = SqlDeviceKeys(sql)
        self.sessions = SqlSessions(sql)
        self.keys = SqlKeys(sql)
        self.revocations = SqlRevocations(sql)
        self.audit = SqlAudit(sql)
        self.nodes = SqlNodes(sql)


class SqlControlDatabase:
    """The ControlDatabase port over any SqlEngine."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine

    async def migrate(self) -> None:
        """Make the tables; raises DeclarationError when they are a newer program's."""
        new_database_id = token_hex(DATABASE_ID_BYTES)
        await self._engine.write(lambda sql: migrate(sql, new_database_id=new_database_id))

    async def read(self, work: Callable[[ControlUnit], T]) -> T:
        """Run `work` on one snapshot."""
        return await self._engine.read(lambda sql: work(ControlSqlUnit(cast("SqlWriter", sql))))

    async def write(self, work: Callable[[ControlUnit], T]) -> T:
        """Run `work` in the one write transaction."""
        return await self._engine.write(lambda sql: work(ControlSqlUnit(sql)))

    async def version(self) -> int:
        """Return the count of tenants, keys, revocations and nodes ever changed.

        It is in the database, not a property of a connection as PRAGMA data_version is: it means
        the same on every connection, in every process, and in a copy of the file.
        """
        return await self._engine.read(_version)

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()


def _version(sql: SqlReader) -> int:
    row = sql.one("SELECT last FROM ct_number WHERE name = 'change'")
    assert row is not None, "the migration makes every row of ct_number"
    return row[0]
