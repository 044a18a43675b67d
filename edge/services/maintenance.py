"""Housekeeping of one tenant: acknowledgements, tombstones, leases, bounded logs.

A tombstone is collected once every device whose lease runs has acknowledged it, never by wall time
alone; a device that stayed away longer than its lease starts again from zero and keeps its queue.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

import structlog

from edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge.ports.stores import Database, Unit

DEVICE_LEASE_MS: Final = 90 * 24 * 3_600 * 1_000
"""A phone may stay away for a season before it has to read everything again."""
INTERVAL_S: Final = 30.0
ROUNDS_PER_RECLAIM: Final = 20
"""Ended leases are looked for every ten minutes: that reads all rows with stock."""
COLLECTED_ROWS_MAX: Final = 10_000
RECEIPTS_KEPT: Final = 50_000
"""Mutations per device whose receipts are kept: far more than a phone has in doubt."""
LOG_ENTRIES_KEPT: Final = 100_000
INVITATIONS_DROPPED_MAX: Final = 1_000
"""Per round: a round is short, and expired invitations are worth nothing while they wait."""

_log = structlog.stdlib.get_logger(__name__)


class Maintenance:
    """Runs beside the writer, in small transactions."""

    def __init__(
        self,
        database: Database,
        *,
        now_ms: Callable[[], int],
        reclaim_leases: Callable[[], Awaitable[int]],
        mark: Callable[[str, int], None],
        lease_ms: int = DEVICE_LEASE_MS,
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._lease_ms = lease_ms
        self._reclaim_leases = reclaim_leases
        self._mark = mark
        self._acknowledged: dict[int, int] = {}
        self._task: asyncio.Task[None] | None = None

    def acknowledge(self, device: int, sequence: int) -> None:
        """Note a device's cursor; written with the next round, so a pull writes nothing."""
        self._acknowledged[device] = sequence

    def take_acknowledged(self) -> dict[int, int]:
        """Return the cursors noted since the last time: an edge tells the primary of them."""
        noted, self._acknowledged = self._acknowledged, {}
        return noted

    def start(self) -> None:
        """Start on the running loop."""
        self._task = asyncio.create_task(self._work(), name="maintenance")

    async def close(self) -> None:
        """Stop; what was noted and not written only makes collection later."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def run_once(self) -> int:
        """Do one round; return how many tombstones were dropped."""
        noted, self._acknowledged = self._acknowledged, {}
        return await self._database.write(partial(self._round, noted))

    def _round(self, noted: dict[int, int], unit: Unit) -> int:
        now_ms = self._now_ms()
        for device, sequence in noted.items():
            unit.devices.acknowledge(device, sequence, now_ms=now_ms)
        sequence, horizon = unit.meta.get("sequence"), unit.meta.get("horizon")
        lowest = unit.devices.lowest_acknowledged(seen_after_ms=now_ms - self._lease_ms)
        safe = sequence if lowest is None else min(lowest, sequence)
        if safe > horizon:
            unit.meta.set("horizon", safe)
            horizon = safe
        dropped = unit.rows.collect(horizon=horizon, rows_max=COLLECTED_ROWS_MAX)
        unit.receipts.trim(kept_per_device=RECEIPTS_KEPT)
        unit.conflicts.trim(kept=LOG_ENTRIES_KEPT)
        unit.invitations.drop_expired(now_ms=now_ms, limit=INVITATIONS_DROPPED_MAX)
        self._mark(unit.meta.get("database"), sequence)
        return dropped

    async def _work(self) -> None:
        for round_number in count(1):
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.run_once()
                if round_number % ROUNDS_PER_RECLAIM == 0:
                    await self._reclaim_leases()
            except EdgeError as error:
                _log.warning("maintenance-postponed", reason=error.message)
