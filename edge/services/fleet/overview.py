"""The whole fleet at one moment: this node asks every other one how it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.fleet import NodeState, Role
from edge.services.fleet.peers import PeerStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from core.fleet import NodeEntry
    from edge.services.fleet.leading import Leading
    from edge.services.fleet.peers import Peers
    from edge.services.node import Node


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node: `status` is None when it does not answer."""

    entry: NodeEntry
    status: PeerStatus | None


@dataclass(frozen=True, slots=True)
class TenantView:
    """One tenant, as this node has it."""

    tenant: str
    sequence: int
    replicated: int


@dataclass(frozen=True, slots=True)
class FleetView:
    """Every node and tenant; `primary` is the leading node's name."""

    epoch: int
    primary: str
    nodes: list[NodeView]
    tenants: list[TenantView]


class Overview:
    """Looks at the fleet from one node."""

    def __init__(
        self,
        node: Node,
        leading: Leading,
        peers: Peers,
        *,
        own: str,
        entries: Callable[[], list[NodeEntry]],
        commits: Callable[[], Awaitable[Mapping[str, int]]],
        numbers: Callable[[], Mapping[str, float]],
        version: str,
    ) -> None:
        self._node = node
        self._leading = leading
        self._peers = peers
        self._own = own
        self._entries = entries
        self._commits = commits
        self._numbers = numbers
        self._version = version

    async def own(self) -> PeerStatus:
        """Return how this node is."""
        return PeerStatus(
            self._own,
            self._leading.role.value,
            max(self._leading.epoch, self._leading.known().epoch),
            self._node.sequences(),
            await self._commits(),
            self._numbers(),
            self._version,
        )

    async def whole(self) -> FleetView:
        """Ask everybody; nodes that do not answer in time are shown without status."""
        joined = [entry for entry in self._entries() if entry.state is NodeState.JOINED]
        others = [entry for entry in joined if entry.node != self._own]
        statuses = await self._peers.statuses(others)
        statuses[self._own] = await self.own()
        known = self._leading.known()
        tenants = [await self._node.tenant(name) for name in self._node.tenants()]
        return FleetView(
            known.epoch,
            known.node,
            [NodeView(entry, statuses.get(entry.node)) for entry in joined],
            [
                TenantView(tenant.id, tenant.sequence, tenant.standing.replicated(tenant.sequence))
                for tenant in tenants
            ],
        )

    @property
    def is_primary(self) -> bool:
        """Whether this node leads."""
        return self._leading.role is Role.PRIMARY
