"""Revocations, in the order they were made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.ports.identity_records import RevocationRecord
from edge.repositories.control.migrations import next_number

if TYPE_CHECKING:
    from edge.ports.sql import SqlWriter

_COLUMNS: Final = "id, tenant, kind, subject, at_s, until_s"


class SqlRevocations:
    """ct_revocation. Every node reads all tenants' revocations in one go."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def add(self, tenant: str, kind: str, subject: str, *, at_s: int, until_s: int) -> None:
        """Append one."""
        self._sql.run(
            f"INSERT INTO ct_revocation ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
            (next_number(self._sql, "revocation"), tenant, kind, subject, at_s, until_s),
        )

    def after(self, number: int, *, limit: int) -> list[RevocationRecord]:
        """Return revocations of all tenants after an id, oldest first."""
        rows = self._sql.all(
            f"SELECT {_COLUMNS} FROM ct_revocation WHERE id > ? ORDER BY id LIMIT ?",
            (number, limit),
        )
        return [RevocationRecord(*row) for row in rows]

    def trim(self, *, now_s: int) -> None:
        """Drop those whose tokens have all ended."""
        self._sql.run("DELETE FROM ct_revocation WHERE until_s < ?", (now_s,))
