"""How an edge learns of commits: it looks whether the replica's files have changed.

Two system calls tell whether something was committed; only then is the database read. What a poke
through an edge may be late by is POLL_S, the replica's own lag and one read.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.ids import TenantId
    from edge.services.node import Node, Tenant

    Stamp = Callable[[TenantId], object]
    Reached = Callable[[TenantId, str, int], None]

POLL_S: Final = 0.003
IDLE_POLLS: Final = 80
"""Tenants whom nobody waits for are looked at once in so many polls: every quarter of a second."""
WATCHED_MAX: Final = 300
"""Files looked at in one poll: some 2 ms of work; more tenants take turns."""
WAITERS_MAX: Final = 10_000
"""Reads that wait for a sequence, over all tenants."""


@dataclass(slots=True)
class _Watched:
    """What is known of one tenant's replica."""

    stamp: object = None
    database: str = ""
    sequence: int = 0
    waiting: list[tuple[int, asyncio.Future[None]]] = field(
        default_factory=list[tuple[int, asyncio.Future[None]]]
    )


class Follower:
    """Wakes the streams and the waiting reads of an edge's tenants."""

    def __init__(self, node: Node, *, stamp: Stamp, on_reached: Reached) -> None:
        self._node = node
        self._stamp = stamp
        self._on_reached = on_reached
        self._watched: dict[str, _Watched] = {}
        self._waiting_count = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start following on the running loop."""
        self._task = asyncio.create_task(self._follow(), name="follower")

    async def close(self) -> None:
        """Stop; whoever waits is told that nothing has come."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def sequences(self) -> dict[str, tuple[str, int]]:
        """Return (database id, sequence) of each tenant's replica, as last read."""
        return {name: (w.database, w.sequence) for name, w in self._watched.items() if w.database}

    async def wait_for(self, tenant: TenantId, sequence: int, *, seconds_max: float) -> bool:
        """Wait until the replica has reached a sequence; False when it has not in time."""
        watched = self._watched.setdefault(tenant, _Watched())
        if watched.sequence >= sequence:
            return True
        if self._waiting_count >= WAITERS_MAX or seconds_max <= 0:
            return False
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (sequence, arrived)
        watched.waiting.append(entry)
        self._waiting_count += 1
        try:
            async with asyncio.timeout(seconds_max):
                await arrived
        except TimeoutError:
            return False
        finally:
            watched.waiting.remove(entry)
            self._waiting_count -= 1
        return True

    async def _follow(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(POLL_S)
            turn += 1
            names = self._node.tenants()
            if turn % IDLE_POLLS:
                names = [name for name in names if await self._is_watched(name)]
            elif len(names) > WATCHED_MAX:
                first = (turn // IDLE_POLLS * WATCHED_MAX) % len(names)
                names = (names + names)[first : first + WATCHED_MAX]
            for name in names[:WATCHED_MAX]:
                await self._look(name)

    async def _is_watched(self, name: TenantId) -> bool:
        watched = self._watched.get(name)
        if watched is None or watched.waiting:
            return True
        return (await self._node.tenant(name)).live.stream_count > 0

    async def _look(self, name: TenantId) -> None:
        watched = self._watched.setdefault(name, _Watched())
        stamp = self._stamp(name)
        if stamp == watched.stamp:
            return
        try:
            tenant = await self._node.tenant(name)
            found = await tenant.database.read(
                lambda unit: (unit.meta.get("database"), unit.meta.get("sequence"))
            )
        except EdgeError:
            return  # the replica is being copied, or the tenant closed: the next poll asks again
        watched.stamp = stamp
        if found != (watched.database, watched.sequence):
            watched.database, watched.sequence = found
            self._reached(tenant, watched)

    def _reached(self, tenant: Tenant, watched: _Watched) -> None:
        tenant.sequence, tenant.database_id = watched.sequence, watched.database
        tenant.live.notify()
        for sequence, arrived in watched.waiting:
            if sequence <= watched.sequence and not arrived.done():
                arrived.set_result(None)
        self._on_reached(tenant.id, watched.database, watched.sequence)
