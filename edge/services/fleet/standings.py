"""How a primary's and an edge's databases stand to each other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from edge.services.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from core.ids import TenantId
    from edge.services.fleet.follower import Follower
    from edge.services.fleet.lag import Lag
    from edge.services.fleet.reporter import Replicated
    from edge.services.fleet.reports import Reports
    from edge.services.standing import Accepted

PRESENT_SECONDS_MAX: Final = 1.0
"""Four reports to the primary; without an answer to one of them it is not known who leads."""
PRESENT_POLL_S: Final = 0.02


class PrimaryStanding(Standing):
    """A tenant on the primary: commits outlive it once the other nodes have them.

    `is_in_doubt`: whether this node is about to end as the primary, or another one leads.
    """

    def __init__(
        self,
        tenant: TenantId,
        reports: Reports,
        *,
        database: Callable[[TenantId], str],
        is_in_doubt: Callable[[], bool],
    ) -> None:
        self._tenant = tenant
        self._reports = reports
        self._database = database
        self._is_in_doubt = is_in_doubt

    def replicated(self, sequence: int) -> int:
        """Return up to which sequence every node that is up has everything."""
        return self._reports.replicated(
            self._tenant, database=self._database(self._tenant), sequence=sequence
        )

    async def is_present(self, database: str) -> bool:
        """Tell whether this node still leads: its database is the present one then."""
        return not self._is_in_doubt()


class EdgeStanding(Standing):
    """A tenant on an edge: its database follows the primary's."""

    def __init__(
        self,
        tenant: TenantId,
        follower: Follower,
        replicated: Replicated,
        lag: Lag,
        *,
        accepted: Callable[[TenantId], Awaitable[Sequence[Accepted]]],
        wait_s: float,
    ) -> None:
        self._tenant = tenant
        self._follower = follower
        self._replicated = replicated
        self._lag = lag
        self._accepted = accepted
        self._wait_s = wait_s

    @property
    def is_replica(self) -> bool:
        """Say yes."""
        return True

    def replicated(self, sequence: int) -> int:
        """Return what the primary has said of the database that is here."""
        database, _ = self._follower.sequences().get(self._tenant, ("", 0))
        return self._replicated.of(self._tenant, database)

    async def wait_for(self, sequence: int) -> bool:
        """Wait a bounded time for the replica."""
        return await self._follower.wait_for(self._tenant, sequence, seconds_max=self._wait_s)

    async def is_present(self, database: str) -> bool:
        """Wait for the primary's answer to a report sent after this call; tell what it names.

        What it has said before is no help: another one may have taken over since.
        """
        loop, asked_ms = asyncio.get_running_loop(), self._lag.now_ms()
        deadline = loop.time() + PRESENT_SECONDS_MAX
        while (told := self._lag.told(self._tenant, after_ms=asked_ms)) is None:
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(PRESENT_POLL_S)
        return told == database

    async def accepted(self) -> Sequence[Accepted]:
        """Return what this edge has accepted."""
        return await self._accepted(self._tenant)
