"""Ways in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.ports.identity_records import CredentialRecord

if TYPE_CHECKING:
    from edge.ports.sql import SqlWriter

_COLUMNS: Final = "tenant, id, person, kind, subject, public, label, counter, created_ms, used_ms"


class SqlCredentials:
    """ct_credential: one row per (tenant, kind, subject)."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def find(self, tenant: str, kind: str, subject: str) -> CredentialRecord | None:
        """Return the credential that a subject signs in with."""
        row = self._sql.one(
            f"SELECT {_COLUMNS} FROM ct_credential WHERE tenant = ? AND kind = ? AND subject = ?",
            (tenant, kind, subject),
        )
        return None if row is None else CredentialRecord(*row)

    def of_person(self, tenant: str, person: str) -> list[CredentialRecord]:
        """Return a person's credentials, oldest first."""
        rows = self._sql.all(
            f"SELECT {_COLUMNS} FROM ct_credential WHERE tenant = ? AND person = ? "
            "ORDER BY created_ms, id",
            (tenant, person),
        )
        return [CredentialRecord(*row) for row in rows]

    def add(self, record: CredentialRecord) -> bool:
        """Store a new one; False when (tenant, kind, subject) is taken."""
        added = self._sql.run(
            f"INSERT INTO ct_credential ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (tenant, kind, subject) DO NOTHING",
            (
                record.tenant,
                record.id,
                record.person,
                record.kind,
                record.subject,
                record.public,
                record.label,
                record.counter,
                record.created_ms,
                record.used_ms,
            ),
        )
        return added > 0

    def used(self, tenant: str, credential: str, *, counter: int, at_ms: int) -> None:
        """Note a use."""
        self._sql.run(
            "UPDATE ct_credential SET counter = ?, used_ms = ? WHERE tenant = ? AND id = ?",
            (counter, at_ms, tenant, credential),
        )

    def remove(self, tenant: str, person: str, credential: str) -> bool:
        """Drop one of a person's credentials; False when there is no such one."""
        removed = self._sql.run(
            "DELETE FROM ct_credential WHERE tenant = ? AND person = ? AND id = ?",
            (tenant, person, credential),
        )
        return removed > 0

    def of_kind(self, tenant: str, kind: str, *, after: str, limit: int) -> list[CredentialRecord]:
        """Return credentials of one kind in the order of their ids."""
        rows = self._sql.all(
            f"SELECT {_COLUMNS} FROM ct_credential WHERE tenant = ? AND kind = ? AND id > ? "
            "ORDER BY id LIMIT ?",
            (tenant, kind, after, limit),
        )
        return [CredentialRecord(*row) for row in rows]
