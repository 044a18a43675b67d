"""How a reading worker learns of commits: it watches the sequences of tenants that have streams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.services.node import Node, Tenant

POLL_S: Final = 0.025
"""What a poke through a reading worker may be late by; one poll costs about 0.2 ms per tenant."""


async def follow(node: Node) -> None:
    """Wake the streams of every tenant whose database has a new commit, until cancelled."""
    seen: dict[str, int] = {}
    for name in node.tenants():
        # The writer keeps house; a reading worker could only fail at it.
        await (await node.tenant(name)).maintenance.close()
    while True:
        await asyncio.sleep(POLL_S)
        for name in node.tenants():
            tenant = await node.tenant(name)
            if tenant.live.stream_count:
                sequence = await _sequence(tenant)
                if sequence is not None and seen.get(name) != sequence:
                    seen[name] = sequence
                    tenant.sequence = sequence
                    tenant.live.notify()


async def _sequence(tenant: Tenant) -> int | None:
    try:
        return await tenant.database.read(lambda unit: unit.meta.get("sequence"))
    except EdgeError:
        return None  # the database is busy or closing; the next poll asks again
