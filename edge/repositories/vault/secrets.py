"""Password hashes by credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.ports.sql import SqlWriter


class SqlSecrets:
    """vt_secret."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def get(self, tenant: str, credential: str) -> str | None:
        """Return a hash."""
        row = self._sql.one(
            "SELECT secret FROM vt_secret WHERE tenant = ? AND credential = ?",
            (tenant, credential),
        )
        return None if row is None else row[0]

    def put(self, tenant: str, credential: str, secret: str) -> None:
        """Store."""
        self._sql.run(
            "INSERT INTO vt_secret (tenant, credential, secret) VALUES (?, ?, ?) "
            "ON CONFLICT (tenant, credential) DO UPDATE SET secret = excluded.secret",
            (tenant, credential, secret),
        )

    def remove(self, tenant: str, credential: str) -> None:
        """Drop."""
        self._sql.run(
            "DELETE FROM vt_secret WHERE tenant = ? AND credential = ?", (tenant, credential)
        )
