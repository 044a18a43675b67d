"""How a primary's and an edge's databases stand to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.services.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from core.ids import TenantId
    from edge.services.fleet.follower import Follower
    from edge.services.fleet.reporter import Replicated
    from edge.services.fleet.reports import Reports
    from edge.services.standing import Accepted


class PrimaryStanding(Standing):
    """A tenant on the primary: commits outlive it once the other nodes have them."""

    def __init__(
        self, tenant: TenantId, reports: Reports, *, database: Callable[[TenantId], str]
    ) -> None:
        self._tenant = tenant
        self._reports = reports
        self._database = database

    def replicated(self, sequence: int) -> int:
        """Return up to which sequence every node that is up has everything."""
        return self._reports.replicated(
            self._tenant, database=self._database(self._tenant), sequence=sequence
        )


class EdgeStanding(Standing):
    """A tenant on an edge: its database follows the primary's."""

    def __init__(
        self,
        tenant: TenantId,
        follower: Follower,
        replicated: Replicated,
        *,
        accepted: Callable[[TenantId], Awaitable[Sequence[Accepted]]],
        wait_s: float,
    ) -> None:
        self._tenant = tenant
        self._follower = follower
        self._replicated = replicated
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

    async def accepted(self) -> Sequence[Accepted]:
        """Return what this edge has accepted."""
        return await self._accepted(self._tenant)
