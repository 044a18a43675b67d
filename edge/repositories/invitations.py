"""Invitations to spaces; of a code, only its SHA-256 is here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge.ports.records import InvitationRecord

if TYPE_CHECKING:
    from edge.ports.sql import SqlRow, SqlWriter

_COLUMNS: Final = (
    "id, code_sha256, space, role, inviter, is_by_admin, email, uses, used, sequence, created_ms, "
    "expires_ms"
)


class SqlInvitations:
    """sk_invitation. Used-up ones stay for a while: their people may repeat an acceptance."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def add(self, invitation: InvitationRecord) -> None:
        """Store a new invitation."""
        self._sql.run(
            f"INSERT INTO sk_invitation ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                invitation.id,
                invitation.code_sha256,
                invitation.space,
                invitation.role,
                invitation.inviter,
                int(invitation.is_by_admin),
                invitation.email,
                invitation.uses,
                invitation.used,
                invitation.sequence,
                invitation.created_ms,
                invitation.expires_ms,
            ),
        )

    def by_code(self, code_sha256: bytes) -> InvitationRecord | None:
        """Return the invitation with a code, whatever its state."""
        row = self._sql.one(
            f"SELECT {_COLUMNS} FROM sk_invitation WHERE code_sha256 = ?", (code_sha256,)
        )
        return None if row is None else _record(row)

    def open(self, space: str, *, now_ms: int, limit: int) -> list[InvitationRecord]:
        """Return the open invitations to a space, oldest first (ids are in order of time)."""
        rows = self._sql.all(
            f"SELECT {_COLUMNS} FROM sk_invitation WHERE space = ? AND expires_ms > ? "
            "AND used < uses ORDER BY id LIMIT ?",
            (space, now_ms, limit),
        )
        return [_record(row) for row in rows]

    def use(self, invitation: str) -> None:
        """Count one use."""
        self._sql.run("UPDATE sk_invitation SET used = used + 1 WHERE id = ?", (invitation,))

    def revoke(self, space: str, invitation: str) -> bool:
        """Drop an invitation to this space; return whether there was one."""
        dropped = self._sql.run(
            "DELETE FROM sk_invitation WHERE id = ? AND space = ?", (invitation, space)
        )
        return dropped > 0

    def trim_used_up(self, space: str, *, kept: int) -> None:
        """Drop the oldest used-up invitations to a space."""
        self._sql.run(
            "DELETE FROM sk_invitation WHERE id IN (SELECT id FROM sk_invitation "
            "WHERE space = ? AND used >= uses ORDER BY id DESC LIMIT -1 OFFSET ?)",
            (space, kept),
        )

    def drop_expired(self, *, now_ms: int, limit: int) -> int:
        """Drop invitations that have expired, at most `limit`; return how many."""
        return self._sql.run(
            "DELETE FROM sk_invitation WHERE id IN "
            "(SELECT id FROM sk_invitation WHERE expires_ms <= ? LIMIT ?)",
            (now_ms, limit),
        )


def _record(row: SqlRow) -> InvitationRecord:
    plain = InvitationRecord(*row)
    return replace(plain, is_by_admin=bool(plain.is_by_admin))
