"""Receipts: runs of plainly merged mutations, and every other outcome one by one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge.ports.records import MergedRun, ReceiptRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.ports.sql import SqlWriter

QUARANTINED_MAX = 1_000
"""Quarantined payloads kept per tenant, newest first: evidence for the app's author."""


class SqlReceipts:
    """sk_merged_run, sk_receipt and sk_quarantine."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def add(self, runs: Sequence[MergedRun], receipts: Sequence[ReceiptRecord]) -> None:
        """Store the outcomes of one commit."""
        self._sql.many(
            "INSERT INTO sk_merged_run (n, last, first, sequence, hashes) VALUES (?, ?, ?, ?, ?)",
            [(run.n, run.last, run.first, run.sequence, run.hashes) for run in runs],
        )
        self._sql.many(
            "INSERT INTO sk_receipt (n, counter, outcome, sequence, h, hash, detail) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (r.n, r.counter, r.outcome, r.sequence, r.h, r.hash, json.dumps(r.detail))
                for r in receipts
            ],
        )

    def runs(self, n: int, *, first: int, last: int) -> list[MergedRun]:
        """Return the runs that touch counters first..last, ascending."""
        rows = self._sql.all(
            "SELECT n, first, last, sequence, hashes FROM sk_merged_run "
            "WHERE n = ? AND last >= ? AND first <= ? ORDER BY last",
            (n, first, last),
        )
        return [MergedRun(*row) for row in rows]

    def receipts(self, n: int, *, first: int, last: int, limit: int) -> list[ReceiptRecord]:
        """Return the other outcomes of counters first..last, ascending."""
        rows = self._sql.all(
            "SELECT n, counter, outcome, sequence, h, hash, detail FROM sk_receipt "
            "WHERE n = ? AND counter BETWEEN ? AND ? ORDER BY counter LIMIT ?",
            (n, first, last, limit),
        )
        return [ReceiptRecord(*row[:6], detail=json.loads(row[6])) for row in rows]

    def quarantine(self, n: int, counter: int, payload: bytes, reason: str) -> None:
        """Keep what could not be judged."""
        self._sql.run(
            "INSERT OR IGNORE INTO sk_quarantine (n, counter, payload, reason) VALUES (?, ?, ?, ?)",
            (n, counter, payload, reason),
        )

    def trim(self, *, kept_per_device: int) -> None:
        """Drop receipts further back than `kept_per_device` mutations, and old quarantine."""
        for table, column in (("sk_merged_run", "last"), ("sk_receipt", "counter")):
            self._sql.run(
                f"DELETE FROM {table} WHERE {column} <= "
                "(SELECT counter FROM sk_device d WHERE d.n = "
                f"{table}.n) - ?",
                (kept_per_device,),
            )
        self._sql.run(
            "DELETE FROM sk_quarantine WHERE (n, counter) NOT IN "
            "(SELECT n, counter FROM sk_quarantine ORDER BY counter DESC LIMIT ?)",
            (QUARANTINED_MAX,),
        )
