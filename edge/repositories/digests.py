"""Digest sums per space, collection and bucket: kept by the writer, read at checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.repositories.sql.columns import to_json
from sync_protocol import limits
from sync_protocol.digest import from_bytes, to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.ports.records import BucketDelta
    from edge.ports.sql import SqlRow, SqlWriter


class SqlDigests:
    """sk_digest. Every update costs what changed: one read and one write per touched bucket."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def add(self, deltas: Iterable[BucketDelta]) -> None:
        """Add to buckets; each bucket may occur once."""
        updated: list[tuple[str, str, int, bytes, int]] = []
        for delta in deltas:
            found = self._sql.one(
                "SELECT digest, rows FROM sk_digest "
                "WHERE space = ? AND collection = ? AND bucket = ?",
                (delta.space, delta.collection, delta.bucket),
            )
            digest, rows = (0, 0) if found is None else (from_bytes(found[0]), found[1])
            updated.append(
                (
                    delta.space,
                    delta.collection,
                    delta.bucket,
                    to_bytes(digest + delta.digest),
                    rows + delta.rows,
                )
            )
        self._sql.many(
            "INSERT INTO sk_digest (space, collection, bucket, digest, rows) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (space, collection, bucket) "
            "DO UPDATE SET digest = excluded.digest, rows = excluded.rows",
            updated,
        )

    def spaces(self, spaces: Sequence[str]) -> dict[str, dict[str, int]]:
        """Return space -> collection -> digest; what has no rows is left out."""
        found: dict[str, dict[str, int]] = {}
        for space, collection, digest in self._select("space, collection, digest", spaces):
            sums = found.setdefault(space, {})
            sums[collection] = sums.get(collection, 0) + from_bytes(digest)
        return found

    def buckets(self, space: str) -> dict[str, list[int]]:
        """Return collection -> digest of each bucket."""
        found: dict[str, list[int]] = {}
        for collection, bucket, digest in self._select("collection, bucket, digest", [space]):
            found.setdefault(collection, [0] * limits.BUCKETS)[bucket] = from_bytes(digest)
        return found

    def rows(self, spaces: Sequence[str]) -> int:
        """Return how many living rows the spaces hold."""
        return sum(row[0] for row in self._select("sum(rows)", spaces) if row[0] is not None)

    def _select(self, columns: str, spaces: Sequence[str]) -> list[SqlRow]:
        return self._sql.all(
            f"SELECT {columns} FROM json_each(?) AS wanted "
            "CROSS JOIN sk_digest d ON d.space = wanted.value",
            (to_json(list(spaces)),),
        )
