"""The conflict log, and the log of the primary's own changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge.ports.records import ConflictRecord, PrimaryChangeRecord
from edge.repositories.sql.columns import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.ports.sql import SqlWriter


class SqlConflicts:
    """sk_conflict and sk_primary_change; ids ascend, so a reader pages by id."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def add(self, conflicts: Sequence[ConflictRecord]) -> None:
        """Append lost writes; their `id` is given here, the records' own is ignored."""
        self._sql.many(
            "INSERT INTO sk_conflict "
            "(sequence, collection, row, space, field, winner, loser, at_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    c.sequence,
                    c.collection,
                    c.row,
                    c.space,
                    c.field,
                    to_json(c.winner),
                    to_json(c.loser),
                    c.at_ms,
                )
                for c in conflicts
            ],
        )

    def list(
        self,
        spaces: Sequence[str],
        *,
        collection: str | None,
        row: str | None,
        after: int,
        limit: int,
    ) -> list[ConflictRecord]:
        """Return conflicts of some spaces, oldest first, from an id on."""
        rows = self._sql.all(
            "SELECT id, sequence, collection, row, space, field, winner, loser, at_ms "
            "FROM sk_conflict WHERE id > ?2 AND space IN (SELECT value FROM json_each(?1)) "
            "AND (?3 IS NULL OR collection = ?3) AND (?4 IS NULL OR row = ?4) "
            "ORDER BY id LIMIT ?5",
            (to_json([*spaces]), after, collection, row, limit),
        )
        return [
            ConflictRecord(*r[:6], winner=_written(r[6]), loser=_written(r[7]), at_ms=r[8])
            for r in rows
        ]

    def log_primary(self, changes: Sequence[PrimaryChangeRecord]) -> None:
        """Append changes of the primary's own."""
        self._sql.many(
            "INSERT INTO sk_primary_change "
            "(sequence, collection, row, reason, cause_n, cause_counter, at_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (c.sequence, c.collection, c.row, c.reason, c.cause_n, c.cause_counter, c.at_ms)
                for c in changes
            ],
        )

    def primary_changes(self, *, after: int, limit: int) -> list[PrimaryChangeRecord]:
        """Return changes of the primary's own with a sequence after `after`, oldest first."""
        rows = self._sql.all(
            "SELECT sequence, collection, row, reason, cause_n, cause_counter, at_ms "
            "FROM sk_primary_change WHERE sequence > ? ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [PrimaryChangeRecord(*row) for row in rows]

    def trim(self, *, kept: int) -> None:
        """Keep the newest `kept` entries of each log."""
        for table in ("sk_conflict", "sk_primary_change"):
            self._sql.run(
                f"DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - ?", (kept,)
            )


def _written(text: str) -> tuple[Any, int, int]:
    value, h, n = json.loads(text)
    return value, h, n
