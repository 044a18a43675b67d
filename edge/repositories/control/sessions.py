"""Sessions; of refresh tokens, only hashes are here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge.ports.identity_records import SessionRecord
from edge.repositories.control.texts import to_text, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.ports.sql import SqlRow, SqlWriter

_COLUMNS: Final = (
    "tenant, id, person, device, state, generation, current, previous, salt, created_ms, "
    "refreshed_ms, expires_ms, proved_s, methods, reason"
)


class SqlSessions:
    """ct_session. States are the words of core.identity.sessions.SessionState."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def get(self, tenant: str, session: str) -> SessionRecord | None:
        """Return one session, ended ones too while they are kept."""
        row = self._sql.one(
            f"SELECT {_COLUMNS} FROM ct_session WHERE tenant = ? AND id = ?", (tenant, session)
        )
        return None if row is None else _record(row)

    def put(self, record: SessionRecord) -> None:
        """Store."""
        self._sql.run(
            f"INSERT INTO ct_session ({_COLUMNS}) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (tenant, id) DO UPDATE SET person = excluded.person, "
            "device = excluded.device, state = excluded.state, generation = excluded.generation, "
            "current = excluded.current, previous = excluded.previous, salt = excluded.salt, "
            "created_ms = excluded.created_ms, refreshed_ms = excluded.refreshed_ms, "
            "expires_ms = excluded.expires_ms, proved_s = excluded.proved_s, "
            "methods = excluded.methods, reason = excluded.reason",
            (
                record.tenant,
                record.id,
                record.person,
                record.device,
                record.state,
                record.generation,
                record.current,
                record.previous,
                record.salt,
                record.created_ms,
                record.refreshed_ms,
                record.expires_ms,
                record.proved_s,
                to_text(record.methods),
                record.reason,
            ),
        )

    def rotate(self, record: SessionRecord, *, from_generation: int) -> bool:
        """Store the next generation if the stored one is `from_generation` and active.

        One statement: of two that rotate one generation, the second changes no row.
        """
        changed = self._sql.run(
            "UPDATE ct_session SET generation = ?, current = ?, previous = ?, salt = ?, "
            "refreshed_ms = ?, expires_ms = ?, proved_s = ?, methods = ? "
            "WHERE tenant = ? AND id = ? AND generation = ? AND state = 'active'",
            (
                record.generation,
                record.current,
                record.previous,
                record.salt,
                record.refreshed_ms,
                record.expires_ms,
                record.proved_s,
                to_text(record.methods),
                record.tenant,
                record.id,
                from_generation,
            ),
        )
        return changed > 0

    def active(self, tenant: str, person: str, *, now_ms: int) -> list[SessionRecord]:
        """Return a person's active sessions, newest first."""
        rows = self._sql.all(
            f"SELECT {_COLUMNS} FROM ct_session WHERE tenant = ? AND person = ? "
            "AND state = 'active' AND expires_ms > ? ORDER BY created_ms DESC, id DESC",
            (tenant, person, now_ms),
        )
        return [_record(row) for row in rows]

    def end(self, tenant: str, sessions: Sequence[str], *, reason: str) -> None:
        """End sessions; those that have ended keep their reason."""
        self._sql.run(
            "UPDATE ct_session SET state = 'ended', reason = ? WHERE tenant = ? "
            "AND state = 'active' AND id IN (SELECT value FROM json_each(?))",
            (reason, tenant, to_text([*sessions])),
        )

    def trim(self, *, before_ms: int, limit: int) -> int:
        """Drop sessions of any tenant that expired, or ended and were last used, before a time."""
        return self._sql.run(
            "DELETE FROM ct_session WHERE (tenant, id) IN ("
            "SELECT tenant, id FROM ct_session WHERE expires_ms < ? UNION "
            "SELECT tenant, id FROM ct_session WHERE state = 'ended' AND refreshed_ms < ? LIMIT ?)",
            (before_ms, before_ms, limit),
        )


def _record(row: SqlRow) -> SessionRecord:
    columns: list[Any] = [*row]
    columns[-2] = words_of(columns[-2])
    return SessionRecord(*columns)
