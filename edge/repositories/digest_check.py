"""Stored digests against the rows they are sums of, for a whole database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sync_protocol.digest import bucket_of, from_bytes, row_digest, to_bytes
from sync_protocol.rows import encode_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge.ports.sql import SqlReader, SqlRow
    from edge.repositories.sql.table import Table

ROWS_PER_PAGE: Final = 2_000
_Key = tuple[str, str]
"""A space and a collection."""


@dataclass(frozen=True, slots=True)
class DigestDifference:
    """Buckets of one space and collection whose stored digest or count is not that of the rows."""

    space: str
    collection: str
    buckets: tuple[int, ...]

    def __str__(self) -> str:
        return f"digest of {self.collection} in {self.space}: buckets {list(self.buckets)} differ"


def differing_digests(sql: SqlReader, tables: Mapping[str, Table]) -> list[DigestDifference]:
    """Recompute every digest of a database from its living rows; return what differs.

    Memory grows with the buckets in use, not with the rows.
    """
    computed: dict[_Key, dict[int, list[int]]] = {}
    for name, table in tables.items():
        for row in _living(sql, table):
            state = table.decode(row)
            buckets = computed.setdefault((state.space, name), {})
            total = buckets.setdefault(bucket_of(state.id), [0, 0])
            total[0] += row_digest(encode_row(state.id, state.alive, state.fields))
            total[1] += 1
    stored: dict[_Key, dict[int, tuple[bytes, int]]] = {}
    for space, collection, bucket, digest, rows in sql.all(
        "SELECT space, collection, bucket, digest, rows FROM sk_digest"
    ):
        stored.setdefault((space, collection), {})[bucket] = (to_bytes(from_bytes(digest)), rows)
    return [
        DigestDifference(*key, buckets)
        for key in sorted(computed.keys() | stored.keys())
        # Rows of a collection that the app no longer declares stay as they are, unread.
        if key[1] in tables and (buckets := _differing(computed.get(key, {}), stored.get(key, {})))
    ]


def _differing(
    computed: dict[int, list[int]], stored: dict[int, tuple[bytes, int]]
) -> tuple[int, ...]:
    found: list[int] = []
    for bucket in sorted(computed.keys() | stored.keys()):
        total, rows = computed.get(bucket, (0, 0))
        if stored.get(bucket, (to_bytes(0), 0)) != (to_bytes(total), rows):
            found.append(bucket)
    return tuple(found)


def _living(sql: SqlReader, table: Table) -> Iterator[SqlRow]:
    """Yield the living rows in table order; columns that the database lacks yet are NULL."""
    present = {row[1] for row in sql.all(f"PRAGMA table_info({table.name})")}
    if not present:
        return
    columns = ", ".join(
        f't."{name}"' if name in present else f'NULL AS "{name}"' for name in table.column_names
    )
    after = ""
    while True:
        rows = sql.all(
            f"SELECT {columns} FROM {table.name} AS t WHERE t.id > ? AND t.alive = 1 "
            "ORDER BY t.id LIMIT ?",
            (after, ROWS_PER_PAGE),
        )
        yield from rows
        if len(rows) < ROWS_PER_PAGE:
            return
        after = rows[-1][0]
