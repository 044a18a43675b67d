"""Tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.ports.identity_records import TenantRecord
from edge.repositories.control.texts import to_text, values_of, words_of

if TYPE_CHECKING:
    from edge.ports.sql import SqlRow, SqlWriter

_COLUMNS: Final = "tenant, state, regions, settings, created_ms"


class SqlTenants:
    """ct_tenant. An erased tenant keeps its row: its name is never given again."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def get(self, tenant: str) -> TenantRecord | None:
        """Return a tenant, erased ones too."""
        row = self._sql.one(f"SELECT {_COLUMNS} FROM ct_tenant WHERE tenant = ?", (tenant,))
        return None if row is None else _record(row)

    def all(self) -> list[TenantRecord]:
        """Return every tenant by name, erased ones too."""
        return [
            _record(row)
            for row in self._sql.all(f"SELECT {_COLUMNS} FROM ct_tenant ORDER BY tenant")
        ]

    def put(self, record: TenantRecord) -> None:
        """Store."""
        self._sql.run(
            f"INSERT INTO ct_tenant ({_COLUMNS}) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (tenant) DO UPDATE SET state = excluded.state, "
            "regions = excluded.regions, settings = excluded.settings, "
            "created_ms = excluded.created_ms",
            (
                record.tenant,
                record.state,
                to_text(record.regions),
                to_text(record.settings),
                record.created_ms,
            ),
        )

    def erase(self, tenant: str) -> None:
        """Drop accounts, credentials, devices, sessions, revocations and audit of a tenant."""
        self._sql.run("DELETE FROM ct_account WHERE tenant = ?", (tenant,))
        self._sql.run("DELETE FROM ct_credential WHERE tenant = ?", (tenant,))
        self._sql.run("DELETE FROM ct_device WHERE tenant = ?", (tenant,))
        self._sql.run("DELETE FROM ct_session WHERE tenant = ?", (tenant,))
        self._sql.run("DELETE FROM ct_revocation WHERE tenant = ?", (tenant,))
        self._sql.run("DELETE FROM ct_audit WHERE tenant = ?", (tenant,))


def _record(row: SqlRow) -> TenantRecord:
    tenant, state, regions, settings, created_ms = row
    return TenantRecord(tenant, state, words_of(regions), values_of(settings), created_ms)
