"""The primary's side of reports: what it takes from other nodes, and what it tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.fleet import Leadership
from edge.errors import Forbidden, Unavailable, UnknownTenant
from edge.services.fleet.messages import HeardBody, LeadershipBody

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.services.fleet.leading import Leading
    from edge.services.fleet.messages import ReportBody
    from edge.services.fleet.node_tokens import NodeCaller
    from edge.services.fleet.reports import Reports
    from edge.services.node import Node, Tenant


class Hearing:
    """Answers reports and claims; an edge, which has no `reports`, answers claims alone."""

    def __init__(
        self, node: Node, leading: Leading, reports: Reports | None, *, now_ms: Callable[[], int]
    ) -> None:
        self._node = node
        self._leading = leading
        self._reports = reports
        self._now_ms = now_ms
        self._told: dict[str, int] = {}

    async def report(self, caller: NodeCaller, body: ReportBody) -> HeardBody:
        """Take what a node has read; answer who leads, and what is replicated."""
        if self._reports is None:
            raise Unavailable("This node is not the primary.")
        await self._leading.heard_epoch(body.epoch)
        if self._leading.is_in_doubt:
            # Edges take the answer for the fleet's present state: cursors are refused by it.
            raise Unavailable("This node is not the primary any more.")
        self._reports.take(caller.node, body.sequences, body.status)
        replicated: dict[str, int] = {}
        sequences: dict[str, tuple[str, int]] = {}
        for name in self._node.tenants():
            try:
                tenant = await self._node.tenant(name)
            except UnknownTenant:
                continue  # it was erased meanwhile
            read_in, _ = body.sequences.get(name, ("", 0))
            if read_in == tenant.database_id:
                for device, sequence in body.acknowledged.get(name, {}).items():
                    tenant.maintenance.acknowledge(device, sequence)
            replicated[name] = self._replicated(tenant)
            sequences[name] = (tenant.database_id, tenant.sequence)
        known = self._leading.known()
        return HeardBody(
            known.epoch,
            known.node,
            known.url,
            known.grpc_url,
            replicated,
            sequences,
            self._now_ms(),
        )

    async def leadership(self, caller: NodeCaller, body: LeadershipBody) -> LeadershipBody:
        """Take a claim to lead, from the claimant or from the primary that hands over to it.

        Raises Forbidden for anybody else's.
        """
        known = self._leading.known()
        if caller.node not in (body.node, known.node):
            raise Forbidden("Only the node itself, or the primary before it, says who leads.")
        claim = Leadership(body.epoch, body.node, body.url, body.grpc_url)
        heard = await self._leading.hear(claim)
        return LeadershipBody(heard.epoch, heard.node, heard.url, heard.grpc_url)

    def _replicated(self, tenant: Tenant) -> int:
        """Return what is replicated of a tenant, and tell its phones when that has moved."""
        name = tenant.id
        reached = tenant.standing.replicated(tenant.sequence)
        if self._told.get(name) != reached:
            self._told[name] = reached
            tenant.live.replicated_moved()
        return reached
