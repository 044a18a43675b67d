"""The tenant's own facts, as JSON values by key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.ports.sql import SqlWriter


class SqlMeta:
    """sk_meta: database id, sequence, clock, horizon, schema, format."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def get(self, key: str) -> Any:  # noqa: ANN401  (JSON)
        """Return the value, or None when it was never set."""
        row = self._sql.one("SELECT value FROM sk_meta WHERE key = ?", (key,))
        return None if row is None else json.loads(row[0])

    def set(self, key: str, value: Any) -> None:  # noqa: ANN401  (JSON)
        """Store a JSON value."""
        self._sql.run(
            "INSERT INTO sk_meta (key, value) VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, json.dumps(value)),
        )
