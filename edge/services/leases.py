"""Leases of bounded counters: rights that a phone did not spend in time go back to the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.crdt.bounded_counter import BoundedCounter
from sync_protocol.messages.push import WireChange

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.schema.app import App
    from edge.ports.stores import Database, Unit
    from edge.services.ingest.service import Ingest

ROWS_MAX: Final = 1_000
"""Rows per round; the next round takes the rest."""


class Leases:
    """Takes ended leases back by changes of the primary's own."""

    def __init__(
        self, app: App, database: Database, ingest: Ingest, *, now_ms: Callable[[], int]
    ) -> None:
        self._database = database
        self._ingest = ingest
        self._now_ms = now_ms
        self._fields = [
            (collection, name)
            for collection, declared in app.collections.items()
            for name, field in declared.fields.items()
            if isinstance(field, BoundedCounter)
        ]

    async def reclaim(self) -> int:
        """Do one round; return how many rows it changed."""
        if not self._fields:
            return 0
        changes = await self._database.read(self._ended)
        if changes:
            await self._ingest.write_as_primary([[change] for change in changes])
        return len(changes)

    def _ended(self, unit: Unit) -> list[WireChange]:
        now_ms = self._now_ms()
        return [
            WireChange(collection=collection, id=row, op="edit", fields={field: {"reclaim": 1}})
            for collection, field in self._fields
            for row, _ in unit.rows.ended_leases(collection, field, now_ms=now_ms, limit=ROWS_MAX)
        ]
