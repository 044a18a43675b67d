"""Filling: the rows of an unfinished round for collections that will have no others after it.

Such rows are decoded, digested and inserted while the server makes the next page, into a table of
their own beside the collection's, with digest sums of their own. The round's last page moves them
over inside its transaction, so they are seen together with the rest of the round or not at all.

Invariants
  W1  nothing but `move` makes a row of a filling table visible
  W2  the sums in `_bucket_filling` are those of the living rows in the filling tables (as S2)
  W3  filling tables belong to the staged round: whatever drops its pages drops them
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from skerry_client.store.confirmed import Confirmed
from skerry_client.store.tables import Table, quoted
from sync_protocol.digest import from_bytes
from sync_protocol.messages.page import Rows

if TYPE_CHECKING:
    import sqlite3

PREFIX: Final = "_fill_"
"""Names of collections never begin with an underscore, so these cannot collide with them."""
SUMS: Final = "_bucket_filling"
_CREATE_SUMS: Final = f"""
    CREATE TABLE {SUMS} (
        space TEXT NOT NULL, collection TEXT NOT NULL, bucket INTEGER NOT NULL,
        digest BLOB NOT NULL, PRIMARY KEY (space, collection, bucket)
    ) WITHOUT ROWID
"""
ROWS_AT_ONCE: Final = 1_000
"""Rows that are moved one by one are read so many at a time, to bound the memory they take."""


class Filling:
    """The filling tables of one connection; every method runs in the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, confirmed: Confirmed) -> None:
        self._connection = connection
        self._confirmed = confirmed
        self._aside = Confirmed(connection, {}, sums=SUMS, expects_new=True)

    def has(self, collection: str) -> bool:
        """Tell whether rows of this collection have been kept in this round."""
        return PREFIX + collection in _tables(self._connection)

    def keep(self, space: str, collection: str, rows: Rows) -> None:
        """Keep rows; of a row that comes twice the higher sequence stays."""
        table = self._table(collection)
        names = _tables(self._connection)
        if not names:
            self._connection.execute(_CREATE_SUMS)
        if table.name not in names:
            self._connection.execute(table.create_bare())
        self._aside.apply(space, table.name, rows)
        self._aside.flush()

    def drop_space(self, space: str) -> None:
        """Forget the rows of a space."""
        names = _tables(self._connection)
        for name in names:
            self._connection.execute(f"DELETE FROM {quoted(name)} WHERE _space = ?", (space,))
        if names:
            self._connection.execute(f"DELETE FROM {SUMS} WHERE space = ?", (space,))

    def move(self) -> int:
        """Make the kept rows confirmed rows, with their digests; return how many they were."""
        count = 0
        for name in _tables(self._connection):
            collection = name.removeprefix(PREFIX)
            table, aside = self._confirmed.table(collection), self._table(collection)
            count += self._move_held(table, aside)
            count += self._move_new(table, aside)
            self._confirmed.touched.add(collection)
            for space, bucket, digest in self._connection.execute(
                f"SELECT space, bucket, digest FROM {SUMS} WHERE collection = ?", (name,)
            ):
                self._confirmed.add(space, collection, bucket, from_bytes(digest))
        clear(self._connection)
        return count

    def _move_new(self, table: Table, aside: Table) -> int:
        """Move the rows that the collection's table has not got."""
        execute = self._connection.execute
        old, new = quoted(table.name), quoted(aside.name)
        if self._confirmed.holds(table):
            return execute(
                f"INSERT INTO {old} ({table.names}) SELECT {table.names} FROM {new}"
            ).rowcount
        # Taking an empty table's place costs nothing per row, where copying and then dropping the
        # rows would take half as long again as all that was done before.
        (count,) = execute(f"SELECT count(*) FROM {new}").fetchone()
        execute(f"DROP TABLE {old}")
        execute(f"ALTER TABLE {new} RENAME TO {old}")
        for statement in table.create_indexes():
            execute(statement)
        return count

    def _move_held(self, table: Table, aside: Table) -> int:
        """Move the rows that the collection's table has already: those with pending mutations."""
        count, after = 0, ""
        # CROSS JOIN keeps this order: the collection's table has few rows while it is filled.
        overlap = (
            f"SELECT a.id, a._space, a._sequence, a._alive, a._state, a._hash, a._pending "
            f"FROM {quoted(table.name)} AS t CROSS JOIN {quoted(aside.name)} AS a ON a.id = t.id "
            "WHERE t.id > ? ORDER BY t.id LIMIT ?"
        )
        while rows := self._connection.execute(overlap, (after, ROWS_AT_ONCE)).fetchall():
            for row in rows:
                self._move_one(table, aside, row)
            count, after = count + len(rows), rows[-1][0]
        self._aside.flush()
        return count

    def _move_one(self, table: Table, aside: Table, row: tuple[Any, ...]) -> None:
        row_id, space, sequence, _, state, digest, _ = row
        self._aside.subtract(aside.name, row)
        self._connection.execute(f"DELETE FROM {quoted(aside.name)} WHERE id = ?", (row_id,))
        rows = Rows([sequence], [Raw(state)], [] if digest is None else [digest])
        self._confirmed.apply(space, table.name, rows)

    def _table(self, collection: str) -> Table:
        fields = self._confirmed.table(collection).fields
        return self._aside.know(Table(PREFIX + collection, fields))


def clear(connection: sqlite3.Connection) -> None:
    """Drop all filling tables (W3)."""
    for name in _tables(connection):
        connection.execute(f"DROP TABLE {quoted(name)}")
    connection.execute(f"DROP TABLE IF EXISTS {SUMS}")


def _tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, ?) = ?",
        (len(PREFIX), PREFIX),
    )
    return [name for (name,) in found.fetchall()]
