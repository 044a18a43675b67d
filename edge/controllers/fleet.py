"""/v1/operator/fleet: the whole fleet, and who leads it, for operators at any of its nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response

from edge.controllers.administration import BODY_BYTES_MAX
from edge.controllers.answer import json_answer
from edge.controllers.body import read_json
from edge.controllers.endpoints import AnyRequest
from edge.controllers.operations import DescribedEndpoints
from edge.dto.fleet_operations import FLEET_OPERATIONS, HandOver, Leader, Promotion
from edge.dto.fleet_status import FleetStatus, NodeStatus, TenantStatus
from edge.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from litestar.handlers import HTTPRouteHandler

    from core.fleet import Leadership
    from edge.services.fleet.leading import Leading
    from edge.services.fleet.overview import NodeView, Overview

BREAKERS = {0: "closed", 1: "half-open", 2: "open"}


class FleetController(DescribedEndpoints):
    """What operators see and do of the fleet; a node by itself has none."""

    def __init__(self, leading: Leading | None, overview: Overview | None) -> None:
        self._leading = leading
        self._overview = overview

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes."""
        return self.routes_of(FLEET_OPERATIONS)

    def handlers(self) -> Mapping[str, Callable[..., Any]]:
        """Return the method of every operation."""
        return {
            "operator.fleet": self.fleet,
            "operator.fleet.promote": self.promote,
            "operator.fleet.hand-over": self.hand_over,
        }

    async def fleet(self, request: AnyRequest) -> Response[bytes]:
        """Show every node and tenant."""
        if self._overview is None:
            raise Unavailable("This node stands alone: it has no fleet.")
        view = await self._overview.whole()
        status = FleetStatus(
            view.epoch,
            view.primary,
            [_node(node) for node in view.nodes],
            [TenantStatus(t.tenant, t.sequence, t.replicated) for t in view.tenants],
        )
        return await json_answer(request, status)

    async def promote(self, request: AnyRequest) -> Response[bytes]:
        """Make this node the primary; its predecessor is lost."""
        body = await read_json(request, Promotion, bytes_max=BODY_BYTES_MAX)
        return await _told(request, await self._required().promote(force=body.force))

    async def hand_over(self, request: AnyRequest) -> Response[bytes]:
        """Let another node be the primary."""
        body = await read_json(request, HandOver, bytes_max=BODY_BYTES_MAX)
        return await _told(request, await self._required().hand_over(body.node))

    def _required(self) -> Leading:
        if self._leading is None:
            raise Unavailable("This node stands alone: it has no fleet.")
        return self._leading


async def _told(request: AnyRequest, claim: Leadership) -> Response[bytes]:
    return await json_answer(request, Leader(claim.epoch, claim.node, claim.url))


def _node(view: NodeView) -> NodeStatus:
    entry, status = view.entry, view.status
    shown = NodeStatus(entry.node, entry.region, "", entry.state.value, entry.url)
    if status is None:
        return shown
    numbers = status.numbers
    return msgspec.structs.replace(
        shown,
        role=status.role,
        heard_ms_ago=0,
        sequences_behind=_whole(numbers.get("sequences_behind")),
        lag_ms=_whole(numbers.get("lag_ms")),
        outbox=_whole(numbers.get("outbox")),
        outbox_age_s=numbers.get("outbox_age_s"),
        streams=_whole(numbers.get("streams")),
        version=status.version,
        breaker=BREAKERS.get(int(numbers.get("breaker", -1)), ""),
    )


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
