"""Lineage: the databases that the present one goes on from, and which of their cursors are good.

Every take-over gives the database another id. Meta `lineage` lists the ids before, oldest first,
each with the sequence up to which its commits live on: [[database, sequence], ...].

Invariants
  LN1  a cursor of an older database is good only if every database since has kept what it has read
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.ports.stores import Unit
    from sync_protocol.messages.cursor import Cursor


REPLACED_MAX: Final = 32
"""Told to each device: no primary that was replaced so many take-overs ago still leads."""


def adopted(cursor: Cursor, unit: Unit) -> Cursor | None:
    """Return a cursor as one of the present database, or None if it is not of its line (LN1)."""
    database = unit.meta.get("database")
    if cursor.database == database:
        return cursor
    lineage: Sequence[tuple[str, int]] = unit.meta.get("lineage") or ()
    ids = [older for older, _ in lineage]
    if cursor.database not in ids:
        return None
    # A later entry may be lower: what this cursor has read was kept once, and lost afterwards.
    kept = min(sequence for _, sequence in lineage[ids.index(cursor.database) :])
    if furthest(cursor) > kept:
        return None
    return msgspec.structs.replace(cursor, database=database)


def replaced(unit: Unit) -> list[str]:
    """Return the last databases that the present one goes on from."""
    lineage: Sequence[tuple[str, int]] = unit.meta.get("lineage") or ()
    return [older for older, _ in lineage[-REPLACED_MAX:]]


def furthest(cursor: Cursor) -> int:
    """Return the highest sequence that a cursor speaks of."""
    scan = cursor.backfill
    return cursor.sequence if scan is None else max(cursor.sequence, scan.until, scan.after)
