"""GET /v1/operator/fleet: every node and tenant of the fleet, as the primary knows them."""

from __future__ import annotations

import msgspec


class NodeStatus(msgspec.Struct):
    """One node; what only it knows is None until it has reported. `heard_ms_ago` of the node
    that answers is 0.

    `sequences_behind` and `lag_ms` are of the tenant that is furthest behind, `outbox` counts
    mutations, `breaker` is `closed`, `half-open` or `open`.
    """

    node: str
    region: str
    role: str
    state: str
    url: str
    heard_ms_ago: int | None = None
    sequences_behind: int | None = None
    lag_ms: int | None = None
    outbox: int | None = None
    outbox_age_s: float | None = None
    streams: int | None = None
    version: str = ""
    breaker: str = ""


class TenantStatus(msgspec.Struct):
    """One tenant: its commit sequence, and up to which one commits outlive the primary."""

    tenant: str
    sequence: int
    replicated: int


class FleetStatus(msgspec.Struct):
    """The fleet; `primary` is the leading node's name."""

    epoch: int
    primary: str
    nodes: list[NodeStatus]
    tenants: list[TenantStatus]
