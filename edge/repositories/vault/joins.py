"""One-time tokens that new nodes join with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.ports.identity_stores import JoinRecord

if TYPE_CHECKING:
    from edge.ports.sql import SqlWriter

_COLUMNS: Final = "hash, node, region, keys, expires_ms"


class SqlJoins:
    """vt_join: of each token its SHA-256 alone."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def add(self, record: JoinRecord) -> None:
        """Store a new one; the node's earlier ones are worth nothing any more."""
        self._sql.run("DELETE FROM vt_join WHERE node = ?", (record.node,))
        self._sql.run(
            f"INSERT INTO vt_join ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
            (record.hash, record.node, record.region, record.keys, record.expires_ms),
        )

    def get(self, token_hash: bytes) -> JoinRecord | None:
        """Return one, used or not."""
        row = self._sql.one(f"SELECT {_COLUMNS} FROM vt_join WHERE hash = ?", (token_hash,))
        return None if row is None else JoinRecord(*row)

    def use(self, token_hash: bytes, keys: str) -> bool:
        """Use one up for some keys; False when it was used for other ones."""
        return (
            self._sql.run(
                "UPDATE vt_join SET keys = ? WHERE hash = ? AND keys IN ('', ?)",
                (keys, token_hash, keys),
            )
            == 1
        )

    def trim(self, *, now_ms: int) -> int:
        """Drop those that have expired."""
        return self._sql.run("DELETE FROM vt_join WHERE expires_ms <= ?", (now_ms,))
