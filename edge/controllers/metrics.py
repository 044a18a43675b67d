"""GET /metrics: the node's numbers in the Prometheus text format; the gate decides who may read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from litestar import Response, get

from edge.controllers.answer import bytes_answer
from edge.controllers.endpoints import AnyRequest, Endpoints

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from edge.observability import Metrics

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class MetricsController(Endpoints):
    """Shows the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes."""
        return [get("/metrics", name="metrics")(self.show)]

    async def show(self, request: AnyRequest) -> Response[bytes]:
        """Show every metric."""
        return await bytes_answer(request, self._metrics.text(), MEDIA_TYPE)
