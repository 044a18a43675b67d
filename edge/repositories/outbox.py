"""The outbox: mutations that an edge has accepted, in a SQLite file of its own.

What waits of each device is also known by heart, so that asking costs no read.

Invariants
  O1  an answered append is on the disk; one that failed has left nothing
  O2  mutations and bytes are bounded, and counted exactly as they stand on the disk
"""

from __future__ import annotations

import asyncio
import heapq
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Final, TypeVar

from edge.errors import Overloaded
from edge.ports.outbox import Waiting
from edge.repositories.outbox_tables import (
    Key,
    add,
    grouped,
    oldest,
    opened,
    read,
    remove,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from edge.ports.fleet import OutboxEntry
    from edge.ports.sql import SqlEngine

T = TypeVar("T")

DATABASE_ID_BYTES: Final = 16
"""Enough that no two databases ever get the same id."""
READ_MUTATIONS: Final = 5_000
"""Entries per read where a caller names no number: as many as one push holds."""
READ_BYTES: Final = 4 * 1024 * 1024
"""Payloads per read where a caller names no number: as much as one push holds."""


class SqlOutbox:
    """The DurableOutbox port over an SqlEngine that commits durably."""

    def __init__(self, engine: SqlEngine, *, mutations_max: int, bytes_max: int) -> None:
        self._engine = engine
        self._mutations_max = mutations_max
        self._bytes_max = bytes_max
        self._devices: dict[Key, Waiting] = {}
        self._of_tenant: dict[str, int] = {}
        self._count = 0
        self._bytes = 0
        self._reserved = [0, 0]
        """Mutations and bytes of appends under way."""
        self._next_position = 1

    async def open(self) -> None:
        """Make the tables and learn what waits; raises DeclarationError for a newer program's."""
        new_database_id = token_hex(DATABASE_ID_BYTES)
        devices, self._bytes, self._next_position = await self._engine.write(
            partial(opened, new_database_id=new_database_id)
        )
        self._devices = devices
        self._count = sum(waiting.count for waiting in devices.values())
        self._of_tenant = {}
        for (tenant, _), waiting in devices.items():
            self._of_tenant[tenant] = self._of_tenant.get(tenant, 0) + waiting.count

    def waiting(self, tenant: str, device: int) -> Waiting | None:
        """Return what waits of a device, None for nothing; treat it as read-only."""
        return self._devices.get((tenant, device))

    def count_of(self, tenant: str) -> int:
        """Return how many mutations of a tenant wait."""
        return self._of_tenant.get(tenant, 0)

    async def append(self, entries: Sequence[OutboxEntry]) -> None:
        """Keep mutations, one transaction for all (O1); one that is there already is skipped.

        Positions are given here. Raises Overloaded when there would be too many (O2).
        """
        if not entries:
            return
        size_bytes = sum(len(entry.payload) for entry in entries) + sum(
            len(push.principal) for push, _ in grouped(entries, 0)
        )
        count = len(entries)
        if (
            self._count + self._reserved[0] + count > self._mutations_max
            or self._bytes + self._reserved[1] + size_bytes > self._bytes_max
        ):
            raise Overloaded("The primary is away, and this node keeps no more writes for it.")
        self._reserved[0] += count
        self._reserved[1] += size_bytes
        position, self._next_position = self._next_position, self._next_position + count
        await _finished(self._append(list(entries), position, (count, size_bytes)))

    async def of_device(self, tenant: str, device: int) -> list[OutboxEntry]:
        """Return what waits of one device, by counter."""
        found: list[OutboxEntry] = []
        waiting = self.waiting(tenant, device)
        first = 0 if waiting is None else waiting.first
        while waiting is not None and first <= waiting.last:
            part = await self.between(
                tenant, device, first=first, last=waiting.last, bytes_max=READ_BYTES
            )
            if not part:
                break
            found += part
            first = part[-1].counter + 1
        return found

    async def heads(self, *, limit: int) -> list[tuple[str, int]]:
        """Return (tenant, device) of devices that have something waiting, oldest first."""
        devices = self._devices
        return heapq.nsmallest(limit, devices, key=lambda key: devices[key].position)

    async def batch(
        self, tenant: str, device: int, *, mutations_max: int, bytes_max: int
    ) -> list[OutboxEntry]:
        """Return a device's first entries: contiguous, of one schema version and principal.

        The first one is taken whatever its size.
        """
        waiting = self.waiting(tenant, device)
        if waiting is None:
            return []
        found = await self._engine.read(
            lambda sql: read(
                sql, tenant, device, waiting.first, waiting.last, mutations_max, bytes_max
            )
        )
        for index, entry in enumerate(found):
            first = found[0]
            if (
                entry.counter != first.counter + index
                or entry.schema_version != first.schema_version
                or entry.principal != first.principal
            ):
                return found[:index]
        return found

    async def between(
        self, tenant: str, device: int, *, first: int, last: int, bytes_max: int
    ) -> list[OutboxEntry]:
        """Return a device's entries with counters first..last, ascending, within `bytes_max`."""
        return await self._engine.read(
            lambda sql: read(sql, tenant, device, first, last, READ_MUTATIONS, bytes_max)
        )

    async def settle(self, tenant: str, device: int, through: int) -> None:
        """Drop a device's entries up to a counter: the primary has judged them."""
        await _finished(self._remove(tenant, device, through))

    async def refuse(
        self, tenant: str, device: int, through: int, *, reason: str, now_ms: int
    ) -> int:
        """Put a device's entries up to a counter aside, for the operator; return how many (O2)."""
        return await _finished(self._remove(tenant, device, through, (reason, now_ms)))

    async def recent(self, tenant: str, *, limit: int) -> list[OutboxEntry]:
        """Return the oldest `limit` entries of a tenant, in order of acceptance."""
        return await self.oldest(tenant, limit=limit, bytes_max=self._bytes_max)

    async def oldest(self, tenant: str, *, limit: int, bytes_max: int) -> list[OutboxEntry]:
        """Return a tenant's oldest entries in order of acceptance, within both bounds."""
        return await self._engine.read(lambda sql: oldest(sql, tenant, limit, bytes_max))

    def known_depth(self) -> tuple[int, int, int]:
        """Return what `depth` does, which this outbox knows by heart."""
        oldest = min((waiting.accepted_ms for waiting in self._devices.values()), default=0)
        return self._count, self._bytes, oldest

    async def depth(self) -> tuple[int, int, int]:
        """Return how many mutations wait, their bytes, and when the oldest was accepted (ms, 0)."""
        oldest = min((waiting.accepted_ms for waiting in self._devices.values()), default=0)
        return self._count, self._bytes, oldest

    async def close(self) -> None:
        """Close."""
        await self._engine.close()

    async def _append(
        self, entries: list[OutboxEntry], position: int, reserved: tuple[int, int]
    ) -> None:
        try:
            added = await self._engine.write(partial(add, entries, position))
        finally:
            self._reserved[0] -= reserved[0]
            self._reserved[1] -= reserved[1]
        for push, payload_bytes in added:
            count = push.last - push.first + 1
            self._note(push.tenant, count, payload_bytes + len(push.principal))
            waiting = self._devices.get((push.tenant, push.device))
            if waiting is None:
                self._devices[push.tenant, push.device] = Waiting(
                    push.first, push.last, count, push.position, push.accepted_ms
                )
                continue
            waiting.count += count
            waiting.last = max(waiting.last, push.last)
            waiting.first = min(waiting.first, push.first)

    async def _remove(
        self, tenant: str, device: int, through: int, refusal: tuple[str, int] | None = None
    ) -> int:
        gone = await self._engine.write(partial(remove, tenant, device, through, refusal))
        self._note(tenant, -gone.count, -gone.size_bytes)
        waiting = self._devices.get((tenant, device))
        if waiting is not None:
            waiting.count -= gone.count
            if gone.head is not None:
                waiting.first, waiting.position, waiting.accepted_ms = gone.head
            if not waiting.count:
                del self._devices[tenant, device]
        return gone.count

    def _note(self, tenant: str, count: int, size_bytes: int) -> None:
        self._count += count
        self._bytes += size_bytes
        left = self._of_tenant.get(tenant, 0) + count
        if left:
            self._of_tenant[tenant] = left
        else:
            self._of_tenant.pop(tenant, None)


async def _finished(work: Coroutine[None, None, T]) -> T:
    """Let a write go on to its end when the caller goes away: the counts follow the disk (O2)."""
    return await asyncio.shield(asyncio.ensure_future(work))
