"""What services need of the fleet from outside: nodes, accepted mutations, calls to nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from core.ids import TenantId

CONTROL: Final = "control"
"""The name of the fleet's own database, beside those of tenants."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A row of ct_node; times in Unix ms."""

    node: str
    region: str
    url: str
    grpc_url: str
    state: str
    joined_ms: int


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One accepted mutation. `position` orders the outbox; `payload` is the encoded WireMutation.

    `principal` is the person's verified token, as JSON; `clock` the device's clock at acceptance.
    """

    position: int
    tenant: TenantId
    device: int
    counter: int
    schema_version: int
    clock: int
    principal: bytes
    payload: bytes
    accepted_ms: int


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What another node has answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NodeStore(Protocol):
    """Nodes of the fleet, in the control database."""

    def all(self) -> list[NodeRecord]:
        """Return every node by name, removed ones too."""
        ...

    def get(self, node: str) -> NodeRecord | None:
        """Return one node."""
        ...

    def put(self, record: NodeRecord) -> None:
        """Store."""
        ...

    def leadership(self) -> tuple[int, str, str, str] | None:
        """Return (epoch, node, url, grpc_url) of the primary, or None before the first."""
        ...

    def lead(self, epoch: int, node: str, url: str, grpc_url: str) -> None:
        """Store who is the primary."""
        ...


class Outbox(Protocol):
    """Accepted mutations on this edge's own disk; durable when a method returns.

    All raise StorageFull and leave it unchanged when the disk does not take more.
    """

    async def append(self, entries: Sequence[OutboxEntry]) -> None:
        """Keep mutations (their `position` is given here); one that is there already is skipped."""
        ...

    async def of_device(self, tenant: str, device: int) -> list[OutboxEntry]:
        """Return what waits of one device, by counter."""
        ...

    async def heads(self, *, limit: int) -> list[tuple[str, int]]:
        """Return (tenant, device) of devices that have something waiting, oldest first."""
        ...

    async def batch(
        self, tenant: str, device: int, *, mutations_max: int, bytes_max: int
    ) -> list[OutboxEntry]:
        """Return a device's first entries, by counter, all of one schema version and principal."""
        ...

    async def settle(self, tenant: str, device: int, through: int) -> None:
        """Drop a device's entries up to a counter: the primary has judged them."""
        ...

    async def recent(self, tenant: str, *, limit: int) -> list[OutboxEntry]:
        """Return the oldest `limit` entries of a tenant, in order of acceptance."""
        ...

    async def depth(self) -> tuple[int, int, int]:
        """Return how many mutations wait, their bytes, and when the oldest was accepted (ms, 0)."""
        ...

    async def close(self) -> None:
        """Close."""
        ...


class NodeCalls(Protocol):
    """Calls from node to node, over TLS where it is configured."""

    async def request(
        self,
        url: str,
        method: str,
        target: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        deadline_s: float,
    ) -> NodeAnswer:
        """Call `target` at the node at `url`; raises Unavailable without an answer in time."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
