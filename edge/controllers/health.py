"""/health: is the process alive, and can it serve? Both answer without a token and say little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Response, get

from edge.controllers.answer import json_answer
from edge.controllers.endpoints import AnyRequest, Endpoints
from edge.errors import Unavailable

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from edge.services.node import Node


class HealthController(Endpoints):
    """Liveness restarts a process; readiness takes it out of the rotation."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes."""
        return [
            get("/health/live", name="health.live")(self.live),
            get("/health/ready", name="health.ready")(self.ready),
        ]

    async def live(self, request: AnyRequest) -> Response[bytes]:
        """Answer as long as the event loop turns."""
        return await json_answer(request, {"status": "live"})

    async def ready(self, request: AnyRequest) -> Response[bytes]:
        """Answer 200 only if requests can be served now."""
        if not self._node.is_ready:
            raise Unavailable(self._node.why_not_ready() or "The node is not ready.")
        return await json_answer(request, {"status": "ready"})
