"""/health: is the process alive, can it serve, is it up to date? All answer without a token.

On an edge there are two questions to ask of its replica. `/health/ready` asks whether phones may be
sent here, and says no only for a replica that is broken: before the first sync, or when it falls
behind by more than lag_ms_max although the primary answers. An edge that is cut off from its
primary stays ready, however old its replica gets: it answers reads, takes pushes into its outbox,
and sending its phones elsewhere would turn one region's lost connection into that region's outage.
It says so: {"status": "ready", "primary": "away", "replica_age_ms": ...}. `/health/fresh` says no
whenever a replica is older than the bound, or its age is not known: operators who would rather have
phones cross an ocean than read old rows point their load balancer there. Both are answers about one
moment; neither tells who is to blame for the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Response, get

from edge.controllers.answer import json_answer
from edge.controllers.endpoints import AnyRequest, Endpoints
from edge.errors import Unavailable
from edge.services.fleet.lag import Readiness

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.handlers import HTTPRouteHandler

    from edge.services.node import Node


class HealthController(Endpoints):
    """Liveness restarts a process; readiness takes it out of the rotation.

    `readiness` is asked after the node itself; without one there is no replica to grow old.
    """

    def __init__(self, node: Node, readiness: Callable[[], Readiness] = Readiness) -> None:
        self._node = node
        self._readiness = readiness

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes."""
        return [
            get("/health/live", name="health.live")(self.live),
            get("/health/ready", name="health.ready")(self.ready),
            get("/health/fresh", name="health.fresh")(self.fresh),
        ]

    async def live(self, request: AnyRequest) -> Response[bytes]:
        """Answer as long as the event loop turns."""
        return await json_answer(request, {"status": "live"})

    async def ready(self, request: AnyRequest) -> Response[bytes]:
        """Answer 200 only if requests can be served now."""
        readiness = self._required()
        return await json_answer(request, {"status": "ready", **readiness.detail})

    async def fresh(self, request: AnyRequest) -> Response[bytes]:
        """Answer 200 only if requests can be served now, from rows no older than the bound."""
        readiness = self._required()
        if not readiness.is_fresh:
            age_ms = readiness.detail.get("replica_age_ms")
            age = "an age nobody knows" if age_ms is None else f"{age_ms} ms of age"
            raise Unavailable(f"replica-old: a replica here has {age}.")
        return await json_answer(request, {"status": "fresh", **readiness.detail})

    def _required(self) -> Readiness:
        if not self._node.is_ready:
            raise Unavailable(self._node.why_not_ready() or "The node is not ready.")
        readiness = self._readiness()
        if not readiness.is_ready:
            raise Unavailable(readiness.why)
        return readiness
