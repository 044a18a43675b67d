"""Public halves of signing keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.ports.identity_records import KeyRecord
from edge.repositories.control.texts import to_text, values_of

if TYPE_CHECKING:
    from edge.ports.sql import SqlRow, SqlWriter

_COLUMNS: Final = "kid, node, state, public, authority, created_ms, changed_ms"


class SqlKeys:
    """ct_key: keys belong to nodes, not to tenants."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def all(self) -> list[KeyRecord]:
        """Return every key, oldest first."""
        rows = self._sql.all(f"SELECT {_COLUMNS} FROM ct_key ORDER BY created_ms, kid")
        return [_record(row) for row in rows]

    def put(self, record: KeyRecord) -> None:
        """Store."""
        self._sql.run(
            f"INSERT INTO ct_key ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (kid) DO UPDATE SET node = excluded.node, state = excluded.state, "
            "public = excluded.public, authority = excluded.authority, "
            "created_ms = excluded.created_ms, changed_ms = excluded.changed_ms",
            (
                record.kid,
                record.node,
                record.state,
                record.public,
                to_text(record.authority),
                record.created_ms,
                record.changed_ms,
            ),
        )

    def remove(self, kid: str) -> None:
        """Drop a key that nothing signed with is good any more."""
        self._sql.run("DELETE FROM ct_key WHERE kid = ?", (kid,))


def _record(row: SqlRow) -> KeyRecord:
    kid, node, state, public, authority, created_ms, changed_ms = row
    return KeyRecord(kid, node, state, public, values_of(authority), created_ms, changed_ms)
