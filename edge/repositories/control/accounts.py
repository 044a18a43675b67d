"""Accounts of people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.ports.identity_records import AccountRecord
from edge.repositories.control.texts import to_text, words_of

if TYPE_CHECKING:
    from edge.ports.sql import SqlRow, SqlWriter

_COLUMNS: Final = "tenant, person, kind, state, name, scopes, created_ms"


class SqlAccounts:
    """ct_account."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def get(self, tenant: str, person: str) -> AccountRecord | None:
        """Return one account."""
        row = self._sql.one(
            f"SELECT {_COLUMNS} FROM ct_account WHERE tenant = ? AND person = ?", (tenant, person)
        )
        return None if row is None else _record(row)

    def put(self, record: AccountRecord) -> None:
        """Store."""
        self._sql.run(
            f"INSERT INTO ct_account ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (tenant, person) DO UPDATE SET kind = excluded.kind, "
            "state = excluded.state, name = excluded.name, scopes = excluded.scopes, "
            "created_ms = excluded.created_ms",
            (
                record.tenant,
                record.person,
                record.kind,
                record.state,
                record.name,
                to_text(record.scopes),
                record.created_ms,
            ),
        )

    def list(self, tenant: str, *, after: str, limit: int) -> list[AccountRecord]:
        """Return accounts in the order of their person ids, after one."""
        rows = self._sql.all(
            f"SELECT {_COLUMNS} FROM ct_account WHERE tenant = ? AND person > ? "
            "ORDER BY person LIMIT ?",
            (tenant, after, limit),
        )
        return [_record(row) for row in rows]

    def erase(self, tenant: str, person: str) -> None:
        """Drop the account with its credentials, devices and sessions."""
        whose = (tenant, person)
        self._sql.run("DELETE FROM ct_session WHERE tenant = ? AND person = ?", whose)
        self._sql.run("DELETE FROM ct_device WHERE tenant = ? AND person = ?", whose)
        self._sql.run("DELETE FROM ct_credential WHERE tenant = ? AND person = ?", whose)
        self._sql.run("DELETE FROM ct_account WHERE tenant = ? AND person = ?", whose)


def _record(row: SqlRow) -> AccountRecord:
    tenant, person, kind, state, name, scopes, created_ms = row
    return AccountRecord(tenant, person, kind, state, name, words_of(scopes), created_ms)
