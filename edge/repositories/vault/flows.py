"""Flows under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.ports.identity_records import FlowRecord

if TYPE_CHECKING:
    from edge.ports.sql import SqlWriter

_COLUMNS: Final = "tenant, id, purpose, person, subject, code, secret, attempts, expires_ms"


class SqlFlows:
    """vt_flow."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def add(self, record: FlowRecord) -> None:
        """Store a new one."""
        self._sql.run(
            f"INSERT INTO vt_flow ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.tenant,
                record.id,
                record.purpose,
                record.person,
                record.subject,
                record.code,
                record.secret,
                record.attempts,
                record.expires_ms,
            ),
        )

    def get(self, tenant: str, flow: str) -> FlowRecord | None:
        """Return one without using it up."""
        row = self._sql.one(
            f"SELECT {_COLUMNS} FROM vt_flow WHERE tenant = ? AND id = ?", (tenant, flow)
        )
        return None if row is None else FlowRecord(*row)

    def take(self, tenant: str, flow: str) -> FlowRecord | None:
        """Return one and drop it: whoever takes it is the only one."""
        rows = self._sql.all(
            f"DELETE FROM vt_flow WHERE tenant = ? AND id = ? RETURNING {_COLUMNS}", (tenant, flow)
        )
        return FlowRecord(*rows[0]) if rows else None

    def failed(self, tenant: str, flow: str) -> None:
        """Count a wrong code."""
        self._sql.run(
            "UPDATE vt_flow SET attempts = attempts + 1 WHERE tenant = ? AND id = ?", (tenant, flow)
        )

    def open_count(self, tenant: str, purpose: str, subject: str) -> int:
        """Return how many flows of a purpose a subject has under way."""
        row = self._sql.one(
            "SELECT count(*) FROM vt_flow WHERE tenant = ? AND purpose = ? AND subject = ?",
            (tenant, purpose, subject),
        )
        return 0 if row is None else row[0]

    def trim(self, *, now_ms: int, limit: int) -> int:
        """Drop flows of any tenant that have expired."""
        return self._sql.run(
            "DELETE FROM vt_flow WHERE (tenant, id) IN "
            "(SELECT tenant, id FROM vt_flow WHERE expires_ms <= ? LIMIT ?)",
            (now_ms, limit),
        )
