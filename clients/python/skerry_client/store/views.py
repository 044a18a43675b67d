"""Views: reading a row with its pending mutations, and writing the folded view back."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from core.ids import RowId, SpaceId
from core.row import RowState
from skerry_client.fold import Fields, Pending, fold
from skerry_client.store.confirmed import decode
from skerry_client.store.tables import SqlValue, Table, quoted
from sync_protocol.messages.push import WireMutation

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from core.schema.app import App

decode_mutation: Final = msgspec.msgpack.Decoder(WireMutation).decode
_PENDING_OF_ROW: Final = """
    SELECT q.device, q.counter, q.h, q.schema_version, q.payload, q.outcome,
        CASE WHEN q.device = 0 AND EXISTS (SELECT 1 FROM _meta WHERE key = 'unread') THEN 0
        ELSE q.sequence END,
        q.settled
    FROM _pending_change AS p
    JOIN _mutation_queue AS q ON q.device = p.device AND q.counter = p.counter
    WHERE p.collection = ? AND p.id = ? ORDER BY q.outcome != 'provisional', q.h, q.device
"""
"""Receipts of a database whose rows have not been read say nothing about the rows held."""


def confirmed_of(row: tuple[Any, ...]) -> RowState:
    """Return the confirmed state of a selected table row, unborn when there is none."""
    row_id, space, sequence, _, state, *_ = row
    if state is None:
        return RowState(RowId(row_id), SpaceId(space))
    _, alive, fields = decode(state)
    return RowState(RowId(row_id), SpaceId(space), sequence, alive, dict(fields))


_decoded = lru_cache(maxsize=64)(decode_mutation)
"""Rows of one mutation are folded one after the other: each would decode all of it again."""


class Views:
    """Reads and folds rows of one connection."""

    def __init__(self, connection: sqlite3.Connection, app: App, tables: dict[str, Table]) -> None:
        self._connection = connection
        self._app = app
        self._tables = tables

    def load(self, collection: str, row_id: str, *, n: int) -> RowState | None:
        """Return the view of one row, dead ones too; `n` is this device's number."""
        row = self._row(collection, row_id)
        return None if row is None else self.view_of(collection, row, n=n)

    def confirmed(self, collection: str, row_id: str) -> RowState | None:
        """Return the confirmed state of one row, or None when it has none."""
        row = self._row(collection, row_id)
        return None if row is None or row[4] is None else confirmed_of(row)

    def _row(self, collection: str, row_id: str) -> tuple[Any, ...] | None:
        select = self._tables[collection].select
        return self._connection.execute(select + "WHERE id = ?", (row_id,)).fetchone()

    def select(
        self, collection: str, where: str, arguments: tuple[Any, ...], *, n: int
    ) -> list[RowState]:
        """Return the views of the rows that an app's condition selects."""
        found = self._connection.execute(self._tables[collection].select + where, arguments)
        return [self.view_of(collection, row, n=n) for row in found.fetchall()]

    def view_of(self, collection: str, row: tuple[Any, ...], *, n: int) -> RowState:
        """Return the view of a selected table row."""
        confirmed = confirmed_of(row)
        if not row[6]:
            return confirmed
        return fold(confirmed, self.pending_of(collection, row[0], n=n), self._fields(collection))

    def pending_of(self, collection: str, row_id: str, *, n: int) -> list[Pending]:
        """Return the queued mutations that concern one row, in the order they were made."""
        pending: list[Pending] = []
        for (
            device,
            counter,
            h,
            version,
            payload,
            outcome,
            sequence,
            settled,
        ) in self._connection.execute(_PENDING_OF_ROW, (collection, row_id)):
            changes = tuple(
                change
                for change in _decoded(payload).changes
                if change.collection == collection and change.id == row_id
            )
            lenses = tuple(self._app.lenses_from(collection, version))
            pending.append(
                Pending(
                    device or n, counter, h, changes, outcome, sequence, bool(settled), lenses
                )
            )  # fmt: skip
        return pending

    def refold(self, collection: str, ids: Iterable[str], *, n: int) -> None:
        """Write the views of these rows again; rows that nothing speaks of any more are dropped."""
        table = self._tables[collection]
        fields = self._fields(collection)
        for row_id in ids:
            row = self._row(collection, row_id)
            pending = self.pending_of(collection, row_id, n=n)
            if row is None and not pending:
                continue
            if row is None or row[4] is None:
                if not pending:
                    statement = f"DELETE FROM {quoted(collection)} WHERE id = ?"
                    self._connection.execute(statement, (row_id,))
                    continue
                # The row may yet come: it has to be found here then, as one with pending changes.
                row = (row_id, "", 0, 0, None, None, 0)
            view = fold(confirmed_of(row), pending, fields)
            self.write(table, view, state=row[4], digest=row[5], is_pending=bool(pending))

    def write(
        self, table: Table, view: RowState, *, state: bytes | None, digest: bytes | None,
        is_pending: bool,
    ) -> None:  # fmt: skip
        """Write one row: its view in the columns, its confirmed bytes beside them."""
        values: list[SqlValue] = [
            view.id,
            view.space,
            view.sequence,
            view.is_alive,
            state,
            digest,
            is_pending,
            *table.values(view.fields),
        ]
        self._connection.execute(table.upsert, values)

    def write_pending(self, table: Table, view: RowState) -> None:
        """Write the view of a row that a new mutation touches; its confirmed bytes stay."""
        row = self._row(table.name, view.id)
        state, digest = (None, None) if row is None else (row[4], row[5])
        self.write(table, view, state=state, digest=digest, is_pending=True)

    def _fields(self, collection: str) -> Fields:
        return self._tables[collection].fields
