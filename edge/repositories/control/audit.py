"""The audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.ports.identity_records import AuditRecord
from edge.repositories.control.migrations import next_number
from edge.repositories.control.texts import to_text, values_of

if TYPE_CHECKING:
    from edge.ports.sql import SqlRow, SqlWriter

_COLUMNS: Final = "id, tenant, at_ms, actor, action, subject, address, detail"


class SqlAudit:
    """ct_audit."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def add(self, record: AuditRecord) -> None:
        """Append; the record's id is ignored."""
        self._sql.run(
            f"INSERT INTO ct_audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                next_number(self._sql, "audit"),
                record.tenant,
                record.at_ms,
                record.actor,
                record.action,
                record.subject,
                record.address,
                to_text(record.detail),
            ),
        )

    def list(
        self, tenant: str, *, subject: str | None, after: int, limit: int
    ) -> list[AuditRecord]:
        """Return entries of a tenant after an id, oldest first; `subject` also matches actors."""
        if subject is None:
            rows = self._sql.all(
                f"SELECT {_COLUMNS} FROM ct_audit WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?",
                (tenant, after, limit),
            )
        else:
            # Each half walks its own index and stops at the limit; an OR would walk the tenant.
            rows = self._sql.all(
                f"SELECT * FROM (SELECT {_COLUMNS} FROM ct_audit "
                "WHERE tenant = ? AND subject = ? AND id > ? ORDER BY id LIMIT ?) UNION "
                f"SELECT * FROM (SELECT {_COLUMNS} FROM ct_audit "
                "WHERE tenant = ? AND actor = ? AND id > ? ORDER BY id LIMIT ?) "
                "ORDER BY id LIMIT ?",
                (*(tenant, subject, after, limit) * 2, limit),
            )
        return [_record(row) for row in rows]

    def pseudonymise(self, tenant: str, person: str, *, pseudonym: str) -> None:
        """Replace a person as actor and subject; those entries lose address and detail."""
        self._sql.run(
            "UPDATE ct_audit SET actor = iif(actor = ?, ?, actor), "
            "subject = iif(subject = ?, ?, subject), address = '', detail = '{}' "
            "WHERE tenant = ? AND (actor = ? OR subject = ?)",
            (person, pseudonym, person, pseudonym, tenant, person, person),
        )

    def trim(self, *, before_ms: int, limit: int) -> int:
        """Drop entries of any tenant older than a time."""
        return self._sql.run(
            "DELETE FROM ct_audit WHERE (tenant, id) IN "
            "(SELECT tenant, id FROM ct_audit WHERE at_ms < ? LIMIT ?)",
            (before_ms, limit),
        )


def _record(row: SqlRow) -> AuditRecord:
    number, tenant, at_ms, actor, action, subject, address, detail = row
    return AuditRecord(number, tenant, at_ms, actor, action, subject, address, values_of(detail))
