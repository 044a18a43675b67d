"""The vault: an SQL engine with its repositories on it."""

from __future__ import annotations

import json
from secrets import token_hex
from typing import TYPE_CHECKING, Final, TypeVar, cast

from edge.repositories.vault.flows import SqlFlows
from edge.repositories.vault.joins import SqlJoins
from edge.repositories.vault.migrations import migrate
from edge.repositories.vault.secrets import SqlSecrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.ports.identity_stores import VaultUnit
    from edge.ports.sql import SqlEngine, SqlWriter

T = TypeVar("T")

DATABASE_ID_BYTES: Final = 16
"""Enough that no two databases ever get the same id."""


class VaultSqlUnit:
    """All stores in one transaction (a read-only one fails on writes, in the database)."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql
        self.secrets = SqlSecrets(sql)
        self.flows = SqlFlows(sql)
        self.joins = SqlJoins(sql)

    def erase(self, tenant: str, person: str | None = None) -> None:
        """Drop what is kept of a tenant; with `person`, only the flows of that person."""
        if person is not None:
            self._sql.run("DELETE FROM vt_flow WHERE tenant = ? AND person = ?", (tenant, person))
            return
        self._sql.run("DELETE FROM vt_flow WHERE tenant = ?", (tenant,))
        self._sql.run("DELETE FROM vt_secret WHERE tenant = ?", (tenant,))


class SqlVaultDatabase:
    """The VaultDatabase port over any SqlEngine."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine

    async def migrate(self) -> None:
        """Make the tables; raises DeclarationError when they are a newer program's."""
        new_database_id = token_hex(DATABASE_ID_BYTES)
        await self._engine.write(lambda sql: migrate(sql, new_database_id=new_database_id))

    async def read(self, work: Callable[[VaultUnit], T]) -> T:
        """Run `work` on one snapshot."""
        return await self._engine.read(lambda sql: work(VaultSqlUnit(cast("SqlWriter", sql))))

    async def write(self, work: Callable[[VaultUnit], T]) -> T:
        """Run `work` in the one write transaction."""
        return await self._engine.write(lambda sql: work(VaultSqlUnit(sql)))

    async def dump(self) -> bytes:
        """Return what is kept for good, for the next primary: secrets, and no flows under way."""
        rows = await self._engine.read(
            lambda sql: sql.all("SELECT tenant, credential, secret FROM vt_secret")
        )
        return json.dumps(rows).encode()

    async def load(self, content: bytes) -> None:
        """Replace everything by what `dump` of another vault has returned."""
        rows = [tuple(str(value) for value in row) for row in json.loads(content)]

        def work(sql: SqlWriter) -> None:
            for table in ("vt_secret", "vt_flow", "vt_join"):
                sql.run(f"DELETE FROM {table}")
            sql.many("INSERT INTO vt_secret (tenant, credential, secret) VALUES (?, ?, ?)", rows)

        await self._engine.write(work)

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()
