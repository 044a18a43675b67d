"""Reading beside the writer: the app's own SQL, and rows as objects, on read-only connections."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Any, Final

from skerry_client.store.database import open_reader, snapshot
from skerry_client.store.tables import Table, quoted
from skerry_client.store.views import Views

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.row import RowState
    from core.schema.app import App

_READING: Final = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
    }
)
Arguments = "Sequence[Any] | Mapping[str, Any]"


class Reader:
    """Snapshot reads that never wait for the writer (WAL)."""

    def __init__(self, path: Path, app: App, tables: dict[str, Table]) -> None:
        self._tables = tables
        self._lock = threading.Lock()
        self._rows = open_reader(path)
        self._sql = open_reader(path)
        self._read: set[str] = set()
        self._known: dict[str, frozenset[str]] = {}
        self._sql.set_authorizer(self._authorize)
        self._sql.row_factory = sqlite3.Row
        self._views = Views(self._rows, app, tables)

    def close(self) -> None:
        """Close both connections."""
        with self._lock:
            self._rows.close()
            self._sql.close()

    def get(self, collection: str, row_id: str) -> RowState | None:
        """Return the view of one row, dead ones too."""
        with self._lock, snapshot(self._rows):
            return self._views.load(collection, row_id, n=self._device())

    def rows(
        self,
        collection: str,
        *,
        where: str,
        arguments: Sequence[Any],
        order: str,
        limit: int | None,
    ) -> list[RowState]:
        """Return the views of living rows; `where` and `order` are the app's own SQL fragments."""
        condition = "WHERE _alive = 1"
        condition += f" AND ({where})" if where else ""
        condition += f" ORDER BY {order}" if order else ""
        condition += f" LIMIT {limit:d}" if limit is not None else ""
        with self._lock, snapshot(self._rows):
            return self._views.select(collection, condition, tuple(arguments), n=self._device())

    def is_provisional(self, collection: str, row_id: str) -> bool:
        """Tell whether another device's mutation that nobody has judged shows in a row."""
        with self._lock:
            found = self._rows.execute(
                "SELECT 1 FROM _pending_change AS p JOIN _mutation_queue AS q "
                "ON q.device = p.device AND q.counter = p.counter "
                "WHERE p.collection = ? AND p.id = ? AND q.outcome = 'provisional' LIMIT 1",
                (collection, row_id),
            )
            return found.fetchone() is not None

    def query(self, sql: str, arguments: Sequence[Any] | Mapping[str, Any]) -> list[sqlite3.Row]:
        """Run one SELECT of the app's."""
        with self._lock:
            return self._sql.execute(sql, arguments).fetchall()

    def tables_of(self, sql: str, arguments: Sequence[Any] | Mapping[str, Any]) -> frozenset[str]:
        """Return the collections that a SELECT reads."""
        with self._lock:
            if sql not in self._known:
                self._read.clear()
                # EXPLAIN prepares the statement, and so asks the authorizer, without running it.
                self._sql.execute(f"EXPLAIN {sql}", arguments).fetchall()
                self._known[sql] = frozenset(self._read & self._tables.keys())
            return self._known[sql]

    def equal_to(self, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """Return a condition that the columns equal these values, and its arguments."""
        terms = [f"{quoted(name)} IS ?" for name in values]
        return " AND ".join(terms), list(values.values())

    def _device(self) -> int:
        row = self._rows.execute("SELECT value FROM _meta WHERE key = 'device'").fetchone()
        return 0 if row is None else row[0]

    def _authorize(
        self, action: int, first: str | None, _second: str | None, _db: str | None,
        _trigger: str | None,
    ) -> int:  # fmt: skip
        if action == sqlite3.SQLITE_READ and first is not None:
            self._read.add(first)
        return sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY
