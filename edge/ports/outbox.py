"""What the relay, the drain and provisional sets need of an outbox beside the Outbox port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge.ports.fleet import Outbox

if TYPE_CHECKING:
    from edge.ports.fleet import OutboxEntry


@dataclass(slots=True)
class Waiting:
    """What waits of one device: `position` and `accepted_ms` are those of its first mutation."""

    first: int
    last: int
    count: int
    position: int
    accepted_ms: int

    @property
    def is_whole(self) -> bool:
        """Whether every counter from the first to the last one is there."""
        return self.count == self.last - self.first + 1


class DurableOutbox(Outbox, Protocol):
    """An Outbox that knows by heart what waits, and keeps what the primary does not take."""

    def waiting(self, tenant: str, device: int) -> Waiting | None:
        """Return what waits of a device, None for nothing; treat it as read-only."""
        ...

    def count_of(self, tenant: str) -> int:
        """Return how many mutations of a tenant wait."""
        ...

    async def between(
        self, tenant: str, device: int, *, first: int, last: int, bytes_max: int
    ) -> list[OutboxEntry]:
        """Return a device's entries with counters first..last, ascending.

        Ends with the entry that passes `bytes_max`.
        """
        ...

    async def oldest(self, tenant: str, *, limit: int, bytes_max: int) -> list[OutboxEntry]:
        """Return a tenant's oldest entries, as `recent` does, of at most `bytes_max` together."""
        ...

    async def refuse(
        self, tenant: str, device: int, through: int, *, reason: str, now_ms: int
    ) -> int:
        """Put a device's entries up to a counter aside, for the operator; return how many."""
        ...
