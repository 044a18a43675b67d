"""The endpoints of a node: which controllers there are, and what each of them stands on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import structlog
from litestar import Litestar, Request, Response

from edge.controllers.administration import AdministrationController
from edge.controllers.admission import Admission
from edge.controllers.conflicts import ConflictsController
from edge.controllers.docs import DocsController
from edge.controllers.exports import Exports
from edge.controllers.fleet import FleetController
from edge.controllers.health import HealthController
from edge.controllers.invitations import InvitationsController
from edge.controllers.me import MeController
from edge.controllers.metrics import MetricsController
from edge.controllers.operators import OperatorController
from edge.controllers.receipts import ReceiptsController
from edge.controllers.rows import RowsController
from edge.controllers.spaces import SpacesController
from edge.controllers.stream import StreamController, StreamLimits
from edge.controllers.sync import SyncController
from edge.controllers.ways_in import WaysIn
from edge.dto.identity_operations import IDENTITY_POLICIES
from edge.dto.policies import all_policies, require_policies
from edge.problems import problem_of, unforeseen
from edge.services.fleet.lag import Readiness

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from edge.fleet_wiring import Fleet
    from edge.observability import Metrics
    from edge.ports.tracing import Tracer
    from edge.services.identity.identity import Identity
    from edge.services.node import Node
    from edge.services.upstream import Upstream
    from edge.settings import Settings

Life = Callable[[Litestar], AbstractAsyncContextManager[None]]
_log = structlog.stdlib.get_logger(__name__)


def build_routes(
    node: Node,
    settings: Settings,
    metrics: Metrics,
    *,
    upstream: Upstream | None,
    identity: Identity | None,
    fleet: Fleet | None,
    tracer: Tracer,
    lives: Sequence[Life],
) -> Litestar:
    """Make the framework's application; without the gate around it, every request is refused.

    `lives` are entered one after the other when the server starts, and left when it stops.
    """
    bounds = StreamLimits(
        streams_max=settings.streams_max,
        streams_per_person_max=settings.streams_per_person_max,
        send_timeout_s=settings.stream_send_timeout_s,
    )
    collections = node.app.collections.values()
    streams = StreamController(node, metrics, bounds, upstream=upstream, tracer=tracer)
    policies = all_policies(node.app.collections, IDENTITY_POLICIES)
    routes = Litestar(
        route_handlers=[
            SyncController(node, metrics, upstream=upstream).router(),
            *streams.routes(),
            *(RowsController(node, declared).router() for declared in collections),
            *ReceiptsController(node).routes(),
            *ConflictsController(node).routes(),
            *SpacesController(node).routes(),
            *InvitationsController(node).routes(),
            *HealthController(node, fleet.readiness if fleet else Readiness).routes(),
            *MetricsController(metrics).routes(),
            *DocsController(node.app).routes(),
            *([] if identity is None else identity_routes(node, identity, streams, fleet)),
        ],
        guards=[Admission(policies)],
        exception_handlers={Exception: answer_error},
        lifespan=[*lives],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
        debug=False,
    )
    require_policies(_operations(routes), policies)
    return routes


def identity_routes(
    node: Node, identity: Identity, streams: StreamController, fleet: Fleet | None
) -> list[HTTPRouteHandler]:
    """Make the endpoints of identity; streams end when their session does."""
    identity.trust.listen(streams.revoked)
    exports = Exports(node, identity)
    return [
        *WaysIn(identity).routes(),
        *MeController(identity, exports).routes(),
        *AdministrationController(node, identity, exports).routes(),
        *OperatorController(identity, exports).routes(),
        *FleetController(
            None if fleet is None else fleet.leading, None if fleet is None else fleet.overview
        ).routes(),
    ]


def _operations(routes: Litestar) -> set[str]:
    handlers = [handler for route in routes.routes for handler in _handlers_of(route)]
    return {handler.name or f"(unnamed) {handler}" for handler in handlers}


def _handlers_of(route: Any) -> list[Any]:  # noqa: ANN401  (an HTTP, WebSocket or ASGI route)
    """Return a route's handlers, without the OPTIONS handler that the framework makes."""
    found = getattr(route, "route_handlers", None) or [route.route_handler]
    return [handler for handler in found if "OPTIONS" not in getattr(handler, "http_methods", ())]


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer an error with its problem document; the unforeseen is logged, and not told."""
    request_id = str(request.scope["state"].get("request_id", ""))
    problem = problem_of(error)
    if problem is None:
        _log.error("request-failed", exc_info=error, request_id=request_id)
        problem = unforeseen()
    headers = problem.all_headers()
    return Response(
        problem.body(request_id),
        status_code=problem.http_status,
        media_type=headers.pop("content-type"),
        headers=headers,
    )
