"""Confirmed rows: what the server said, byte for byte, and the digests that prove it.

Invariants
  S1  `_state` of a row is the canonical row exactly as received
  S2  each bucket's digest is the sum of the digests of its living confirmed rows
  S3  the view columns equal fold(`_state`, queue); rows that must be folded again are in `dirty`
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from core.ids import is_name
from skerry_client.store.tables import SqlValue, Table, quoted
from sync_protocol import limits
from sync_protocol.digest import MODULUS, ZERO, bucket_of, from_bytes, row_digest, to_bytes
from sync_protocol.errors import MalformedMessage
from sync_protocol.rows import FAILURES

if TYPE_CHECKING:
    from sync_protocol.messages.page import Rows

Alive = tuple[int, int, bool]
Decoded = tuple[str, Alive, dict[str, list[Any]]]
decode: Final = msgspec.msgpack.Decoder(Decoded).decode
"""The server is authenticated and its rows are covered by digests: their form is enough here."""
SPARED: Final = "_pending = 0 AND _alive = 0 AND _state IS NOT NULL"
_to_json = msgspec.json.Encoder().encode


class Confirmed:
    """Writes confirmed rows and keeps their digests, inside the caller's transaction.

    `sums` is the table of the digests; with `expects_new` rows that are there already are rare.
    """

    def __init__(
        self, connection: sqlite3.Connection, tables: dict[str, Table], *, sums: str = "_bucket",
        expects_new: bool = False,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._tables = tables
        self._sums_table = sums
        self._expects_new = expects_new
        self._sums: dict[tuple[str, str, int], int] = defaultdict(int)
        self.dirty: dict[str, set[str]] = defaultdict(set)
        """Rows by collection whose view must be folded again before the transaction ends (S3)."""
        self.touched: set[str] = set()
        self._was_empty: dict[str, bool] = {}

    def table(self, name: str) -> Table:
        """Return a collection's table; one this app does not declare is kept without columns."""
        table = self._tables.get(name)
        if table is None:
            if not is_name(name):
                raise MalformedMessage(f"not a collection: {name!r:.60}")
            table = self._tables[name] = Table(name, {})
            for statement in table.create():
                self._connection.execute(statement)
        return table

    def know(self, table: Table) -> Table:
        """Take a table that its owner has created, and return the one to use."""
        return self._tables.setdefault(table.name, table)

    def has_rows(self, collection: str) -> bool:
        """Tell whether a collection has confirmed rows."""
        return self.holds(self.table(collection), "_state IS NOT NULL")

    def apply(self, space: str, collection: str, rows: Rows) -> None:
        """Store changed rows of a space and collection; a row that is newer here already stays."""
        table = self.table(collection)
        try:
            decoded = [decode(raw) for raw in rows.rows]
        except FAILURES as error:
            raise MalformedMessage(f"not a row: {error!s:.200}") from error
        if self._is_filling(table):
            self._connection.execute("SAVEPOINT filling")
            try:
                self._store(table, space, rows, decoded, {}, insert=True)
            except sqlite3.IntegrityError:
                # A row changed while it was read in pages, so it came twice.
                self._connection.execute("ROLLBACK TO filling")
            else:
                return
            finally:
                self._connection.execute("RELEASE filling")
        held = self._held(table, [row[0] for row in decoded])
        self._store(table, space, rows, decoded, held, insert=False)

    def _store(
        self, table: Table, space: str, rows: Rows, decoded: list[Decoded],
        held: dict[str, tuple[Any, ...]], *, insert: bool,
    ) -> None:  # fmt: skip
        """Write decoded rows and count their digests; `held` are those that are here already."""
        collection = table.name
        sums = [0] * limits.BUCKETS
        fresh: list[SqlValue] = []
        hashes = rows.hashes
        values = table.values
        for index, (row, raw) in enumerate(zip(decoded, rows.rows, strict=True)):
            row_id, alive, fields = row
            pending = 0
            if held and row_id in held:
                old = held[row_id]
                sequence, pending = old[2], old[6]
                if sequence > rows.sequences[index]:
                    continue
                self.subtract(collection, old)
                if pending:
                    self.dirty[collection].add(row_id)
            digest = hashes[index] if hashes else None
            # sqlite3 binds integers and byte arrays at once, but asks its registry of adapters
            # about every bool and every other bytes-like object.
            state = bytearray(raw)
            if alive[2]:
                sums[bucket_of(row_id)] += from_bytes(digest) if digest else row_digest(state)  # pyright: ignore[reportArgumentType]
            fresh += (
                row_id, space, rows.sequences[index], int(alive[2]), state, digest, pending,
                *values(fields),
            )  # fmt: skip
        self._write(table, fresh, insert=insert)
        for bucket, total in enumerate(sums):
            if total:
                self._sums[space, collection, bucket] += total
        self.touched.add(collection)

    def _write(self, table: Table, values: list[SqlValue], *, insert: bool) -> None:
        """Write whole table rows, many per statement; with `insert` none may be there before.

        `values` are those of all rows, one after the other.
        """
        size = table.rows_per_statement * table.width
        many, single = table.statements(insert=insert)
        whole = len(values) - len(values) % size
        execute = self._connection.execute
        for start in range(0, whole, size):
            execute(many, values[start : start + size])
        for start in range(whole, len(values), table.width):
            execute(single, values[start : start + table.width])

    def drop_space(self, space: str) -> None:
        """Forget a space: its rows go, except for what pending mutations of this phone say."""
        for name, table in self._tables.items():
            self._drop(table, "_space = ?", (space,))
            self.touched.add(name)
        for key in [key for key in self._sums if key[0] == space]:
            del self._sums[key]
        self._connection.execute("DELETE FROM _bucket WHERE space = ?", (space,))
        self._connection.execute("DELETE FROM _space WHERE space = ?", (space,))

    def drop_all(self) -> None:
        """Forget every confirmed row and every space; the queue is not touched."""
        for name, table in self._tables.items():
            self._drop(table, "1", ())
            self.touched.add(name)
        self._sums.clear()
        self._connection.execute("DELETE FROM _bucket")
        self._connection.execute("DELETE FROM _space")

    def forget_sequences(self) -> None:
        """Let every confirmed row be older than any receipt, and than any row to come."""
        for name in self._tables:
            table = quoted(name)
            self._connection.execute(f"UPDATE {table} SET _sequence = 0")
            pending = self._connection.execute(f"SELECT id FROM {table} WHERE _pending = 1")
            self.dirty[name].update(row_id for (row_id,) in pending)

    def mark_pending(self) -> None:
        """Let every row that the queue concerns be folded again."""
        found = self._connection.execute("SELECT DISTINCT collection, id FROM _pending_change")
        for collection, row_id in found.fetchall():
            self.dirty[collection].add(row_id)

    def drop_dead(self, horizon: int) -> None:
        """Drop tombstones up to `horizon`; those with pending mutations wait for their outcome."""
        for name in self._tables:
            self._connection.execute(
                f"DELETE FROM {quoted(name)} WHERE _sequence <= ? AND {SPARED}", (horizon,)
            )

    def drop_bucket(self, space: str, collection: str, bucket: int, sequence: int) -> None:
        """Drop one bucket's confirmed rows up to `sequence`, before its repair."""
        table = self.table(collection)
        found = self._connection.execute(
            f"SELECT id FROM {quoted(collection)} "
            "WHERE _space = ? AND _state IS NOT NULL AND _sequence <= ?",
            (space, sequence),
        ).fetchall()
        ids = [row_id for (row_id,) in found if bucket_of(row_id) == bucket]
        self._drop(table, "id IN (SELECT value FROM json_each(?))", (_to_json(ids).decode(),))
        self.touched.add(collection)

    def sum_again(self, space: str, collection: str) -> None:
        """Compute a collection's bucket digests from its rows: a damaged sum is cured."""
        sums = [0] * limits.BUCKETS
        for row in self._connection.execute(
            self.table(collection).select + "WHERE _space = ? AND _state IS NOT NULL", (space,)
        ):
            if is_living(row):
                sums[bucket_of(row[0])] += stored_digest(row)
        for bucket, total in enumerate(sums):
            self._sums.pop((space, collection, bucket), None)
            self._write_sum((space, collection, bucket), total)

    def sum_space_again(self, space: str) -> None:
        """Compute all of a space's digests from its rows."""
        for collection in self._tables:
            self.sum_again(space, collection)

    def flush(self) -> None:
        """Add what has changed to the stored digests."""
        for key, change in self._sums.items():
            if change:
                row = self._connection.execute(
                    f"SELECT digest FROM {self._sums_table} "
                    "WHERE space = ? AND collection = ? AND bucket = ?",
                    key,
                ).fetchone()
                self._write_sum(key, change + (0 if row is None else from_bytes(row[0])))
        self._sums.clear()

    def _write_sum(self, key: tuple[str, str, int], total: int) -> None:
        self._connection.execute(
            f"INSERT INTO {self._sums_table} (space, collection, bucket, digest) "
            "VALUES (?, ?, ?, ?) "
            "ON CONFLICT(space, collection, bucket) DO UPDATE SET digest = excluded.digest",
            (*key, to_bytes(total)),
        )

    def _is_filling(self, table: Table) -> bool:
        """Tell whether rows are likely new: the table was empty when this transaction began."""
        if table.name not in self._was_empty:
            self._was_empty[table.name] = self._expects_new or not self.holds(table)
        return self._was_empty[table.name]

    def holds(self, table: Table, condition: str = "1") -> bool:
        """Tell whether a table has any such row."""
        select = f"SELECT 1 FROM {quoted(table.name)} WHERE {condition} LIMIT 1"
        return self._connection.execute(select).fetchone() is not None

    def _held(self, table: Table, ids: list[str]) -> dict[str, tuple[Any, ...]]:
        """Return the rows of these ids that are here already."""
        found = self._connection.execute(
            table.select + "WHERE id IN (SELECT value FROM json_each(?))",
            (_to_json(ids).decode(),),
        )
        return {row[0]: row for row in found}

    def _drop(self, table: Table, condition: str, arguments: tuple[Any, ...]) -> None:
        """Drop confirmed rows and their share of the digests."""
        name = quoted(table.name)
        where = f"WHERE {condition} AND _state IS NOT NULL"
        for row in self._connection.execute(table.select + where, arguments):
            self.subtract(table.name, row)
            if row[6]:
                self.dirty[table.name].add(row[0])
        self._connection.execute(f"DELETE FROM {name} {where} AND _pending = 0", arguments)
        self._connection.execute(
            f"UPDATE {name} SET _state = NULL, _hash = NULL, _sequence = 0 {where}", arguments
        )

    def add(self, space: str, collection: str, bucket: int, total: int) -> None:
        """Count a bucket's rows that were written and summed elsewhere."""
        self._sums[space, collection, bucket] += total

    def subtract(self, collection: str, row: tuple[Any, ...]) -> None:
        """Count a selected table row no longer."""
        if row[4] is not None and is_living(row):
            self._sums[row[1], collection, bucket_of(row[0])] -= stored_digest(row)


def is_living(row: tuple[Any, ...]) -> bool:
    """Tell whether the confirmed state of a selected table row is alive, whatever its view says."""
    return decode(row[4])[1][2] if row[6] else bool(row[3])


def stored_digest(row: tuple[Any, ...]) -> int:
    """Return the digest of a selected table row."""
    return row_digest(row[4]) if row[5] is None else from_bytes(row[5])


def space_digests(connection: sqlite3.Connection) -> dict[str, bytes]:
    """Return the digest of every space that has rows."""
    totals: dict[str, int] = defaultdict(int)
    for space, digest in connection.execute("SELECT space, digest FROM _bucket"):
        totals[space] = (totals[space] + from_bytes(digest)) % MODULUS
    return {space: to_bytes(total) for space, total in totals.items()}


def bucket_digests(connection: sqlite3.Connection, space: str) -> dict[str, list[bytes]]:
    """Return a space's digests by collection and bucket, as a repair asks for them."""
    buckets: dict[str, list[bytes]] = {}
    for collection, bucket, digest in connection.execute(
        "SELECT collection, bucket, digest FROM _bucket WHERE space = ?", (space,)
    ):
        buckets.setdefault(collection, [ZERO] * limits.BUCKETS)[bucket] = digest
    return buckets
