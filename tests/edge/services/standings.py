"""A standing that tests plan: how far behind, what is replicated, what was accepted."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge.services.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edge.services.node import Tenant
    from edge.services.standing import Accepted


class Planted(Standing):
    """`catch_up` is awaited by whoever waits for a sequence; it tells whether it was reached."""

    def __init__(self, *, is_replica: bool = False, replicated: int | None = None) -> None:
        self._is_replica = is_replica
        self.safe = replicated
        self.list: list[Accepted] = []
        self.waited: list[int] = []
        self.present = True
        """Whether this node's database is the fleet's."""
        self.asked: list[str] = []
        self.catch_up: Callable[[], Awaitable[Any]] | None = None

    @property
    def is_replica(self) -> bool:
        return self._is_replica

    def replicated(self, sequence: int) -> int:
        return sequence if self.safe is None else min(self.safe, sequence)

    async def wait_for(self, sequence: int) -> bool:
        self.waited.append(sequence)
        if self.catch_up is None:
            return False
        await self.catch_up()
        return True

    async def is_present(self, database: str) -> bool:
        self.asked.append(database)
        return self.present

    async def accepted(self) -> Sequence[Accepted]:
        return list(self.list)


def stand(tenant: Tenant, standing: Standing) -> None:
    """Give one standing to all that ask for it."""
    for service in (tenant.pulls, tenant.devices, tenant.live):
        service._standing = standing
