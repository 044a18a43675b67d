"""Digest: rows a second whose digest is computed, as after every merge."""

from __future__ import annotations

import time

from bench.figure import Figure
from bench.todo_rows import todo_rows
from sync_protocol.digest import row_digest
from sync_protocol.rows import encode_row


def measure(*, quick: bool) -> list[Figure]:
    count = 1_000 if quick else 200_000
    rows = [
        (row.id, {name: [7_000_000_000_000, 2, value] for name, value in row.fields.items()})
        for row in todo_rows(min(count, 10_000))
    ]
    rows *= max(1, count // len(rows))
    started = time.perf_counter()
    total = sum(row_digest(encode_row(row, (7_000_000_000_000, 2, True), f)) for row, f in rows)
    seconds = time.perf_counter() - started
    assert total > 0
    return [Figure(name="digest", value=len(rows) / seconds, unit="rows/s")]
