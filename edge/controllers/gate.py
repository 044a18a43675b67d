"""The gate every connection passes before any route is looked up.

Invariants
  G1  without a verified token only the paths in PUBLIC_PATHS are served, compared as whole strings
  G2  every HTTP answer carries x-request-id; every refusal is a problem document
  G3  an error nobody foresaw is logged once and answered without saying anything about itself
  G4  a connection from a web page of an origin that is not allowed gets no stream
  G5  no header says who is at the other end, unless the operator has named one that a proxy sets,
      or the request came over the unix socket that only this node's own workers can open
"""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import structlog

from edge.controllers.forwarding import CLIENT_HEADER
from edge.controllers.origins import Origins
from edge.dto.identity_operations import PUBLIC_IDENTITY_PATHS
from edge.errors import EdgeError, Forbidden, Overloaded, Unauthenticated
from edge.observability import known_method, request_id
from edge.ports.tracing import NO_TRACER
from edge.problems import Problem, problem_of, unforeseen
from edge.services.limits import LimitKind
from sync_protocol.transport import BEARER_SUBPROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from edge.observability import Metrics
    from edge.ports.tracing import Span, Tracer
    from edge.services.limits import Limits
    from edge.services.session import Principal
    from edge.services.tokens import Tokens

PUBLIC_PATHS: Final = frozenset(
    {
        "/health/live",
        "/health/ready",
        "/health/fresh",
        "/docs",
        "/docs/page.js",
        "/docs/page.css",
        "/openapi.json",
    }
)
METRICS_PATH: Final = "/metrics"
UNTRACED_PATHS: Final = PUBLIC_PATHS | {METRICS_PATH}
"""Asked every second by machines: their spans would bury those of people."""
"""Web pages cannot set headers on a WebSocket: they offer this subprotocol, then the token."""
ADDRESS_LENGTH_MAX: Final = 64
_KINDS: Final = (
    ("/v1/sync/push", LimitKind.PUSH),
    ("/v1/sync/", LimitKind.PULL),
    ("/v1/admin/", LimitKind.ADMIN),
    ("/v1/operator/", LimitKind.ADMIN),
)
_log = structlog.stdlib.get_logger(__name__)


class Gate:
    """An ASGI application around the routes: ids, tokens, origins, metrics, the last catch."""

    def __init__(
        self,
        routes: ASGIApp,
        *,
        tokens: Tokens,
        metrics: Metrics,
        origins: Origins,
        requests_in_flight_max: int,
        are_metrics_public: bool,
        has_identity: bool = False,
        limits: Limits | None = None,
        address_header: str = "",
        tracer: Tracer = NO_TRACER,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._routes = routes
        self._tokens = tokens
        self._metrics = metrics
        self._origins = origins
        self._in_flight = 0
        self._in_flight_max = requests_in_flight_max
        public = {METRICS_PATH} if are_metrics_public else set[str]()
        ways_in = PUBLIC_IDENTITY_PATHS if has_identity else frozenset[str]()
        self._public = PUBLIC_PATHS | public | ways_in
        self._limits = limits
        self._address_header = address_header.lower().encode()
        self._tracer = tracer
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind == "http":
            traced = NO_TRACER if scope["path"] in UNTRACED_PATHS else self._tracer
            parent = _traceparent(scope) if traced.is_on else None
            with traced.span("request", kind="server", parent=parent) as span:
                await self._http(scope, receive, send, span)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._routes(scope, receive, send)

    async def _http(
        self,
        scope: Any,  # noqa: ANN401
        receive: Receive,
        send: Send,
        span: Span,
    ) -> None:
        started = self._clock()
        answer = _Answer(scope, send, self._origins)
        self._in_flight += 1
        try:
            if self._in_flight > self._in_flight_max:
                raise Overloaded("The node is busy with other requests.")  # noqa: TRY301
            scope["state"]["address"] = self._address(scope, answer.headers)
            if scope["method"] == "OPTIONS" and answer.is_preflight:
                await answer.preflight()
            else:
                scope["user"] = self._admit(scope, answer.headers)
                await self._routes(scope, receive, answer.send)
        except Exception as error:  # noqa: BLE001  (G3: this is the last catch)
            await answer.fail(error)
        finally:
            self._in_flight -= 1
            seconds = self._clock() - started
            route = scope.get("path_template") or "(none)"
            self._metrics.answered(scope["method"], route, answer.status, seconds)
            self._trace(span, scope, route, answer)
            _log.info(
                "request",
                method=scope["method"],
                route=route,
                status=answer.status,
                ms=round(seconds * 1_000, 2),
                request_id=answer.request_id,
                **({"trace_id": span.trace_id} if span.trace_id else {}),
            )

    def _trace(self, span: Span, scope: Any, route: str, answer: _Answer) -> None:  # noqa: ANN401
        """Tell the trace what the log line tells, and the tenant."""
        if not span.trace_id:
            return
        method = known_method(scope["method"])
        span.rename(f"{method} {route}")
        span.put(method=method, route=route, status=answer.status, request_id=answer.request_id)
        principal: Principal | None = scope.get("user")
        if principal is not None:
            span.put(tenant=principal.tenant)

    async def _websocket(self, scope: Any, receive: Receive, send: Send) -> None:  # noqa: ANN401
        headers = _headers(scope)
        identity = request_id(headers.get(b"x-request-id", b"").decode("latin-1"))
        address = self._address(scope, headers)
        scope["state"] = {**scope.get("state", {}), "request_id": identity, "address": address}
        if self._tracer.is_on:
            # A stream lives for hours: what is done on it are spans of their own, with this link.
            scope["state"]["traceparent"] = _traceparent(scope)
        try:
            if not self._origins.admit(headers.get(b"origin")):
                raise Forbidden("This origin may not open streams here.")
            scope["user"] = self._admit(scope, headers)
        except EdgeError as error:
            await _refuse_stream(scope, receive, send, problem_of(error) or unforeseen(), identity)
            return
        try:
            await self._routes(scope, receive, send)
        except Exception:
            _log.exception("stream-failed", request_id=identity)
            raise

    def _admit(self, scope: Any, headers: dict[bytes, bytes]) -> Principal | None:  # noqa: ANN401
        if scope["path"] in self._public and scope["type"] == "http":
            return None
        token = _bearer(headers)
        if token is None and scope["type"] == "websocket":
            token = _bearer_protocol(scope.get("subprotocols", ()))
        if token is None:
            raise Unauthenticated("A bearer token is needed.")
        principal = self._tokens.verify(token)
        scope["auth"] = token
        if scope["path"] == METRICS_PATH and not principal.is_admin:
            raise Forbidden("Metrics are for administrators.")
        self._count(scope, principal)
        return principal

    def _count(self, scope: Any, principal: Principal) -> None:  # noqa: ANN401
        """Count the request against its person, session and address; raises RateLimited.

        What a reading worker has forwarded was counted there.
        """
        if self._limits is None or scope["client"] is None:
            return
        self._limits.require(
            _kind_of(scope["type"], scope["path"]),
            tenant=principal.tenant,
            account=principal.person,
            device=principal.session or None,
            address=scope["state"]["address"],
        )

    def _address(self, scope: Any, headers: dict[bytes, bytes]) -> str:  # noqa: ANN401
        """Return who is at the other end (G5)."""
        client = scope.get("client")
        if client is None:
            return headers.get(CLIENT_HEADER, b"").decode("latin-1")[:ADDRESS_LENGTH_MAX]
        if self._address_header:
            told = headers.get(self._address_header, b"").decode("latin-1").strip()
            try:
                return str(ip_address(told))
            except ValueError:
                return str(client[0])
        return str(client[0])


class _Answer:
    """One HTTP answer on its way out."""

    def __init__(self, scope: Any, send: Send, origins: Origins) -> None:  # noqa: ANN401
        self.headers = _headers(scope)
        self.request_id = request_id(self.headers.get(b"x-request-id", b"").decode("latin-1"))
        scope["state"] = {**scope.get("state", {}), "request_id": self.request_id}
        self.status = 0
        self._send = send
        self._always = [
            (b"x-request-id", self.request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
            *origins.answer_headers(self.headers.get(b"origin")),
        ]
        self._origins = origins

    @property
    def is_preflight(self) -> bool:
        return b"access-control-request-method" in self.headers and b"origin" in self.headers

    async def send(self, message: Message) -> None:
        """Pass a message on; the first one gets the headers every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self._always]
        await self._send(message)

    async def preflight(self) -> None:
        await self._whole(204, self._origins.preflight_headers(self.headers.get(b"origin")), b"")

    async def fail(self, error: Exception) -> None:
        """Answer with a problem, unless the answer has begun: then the connection is given up."""
        problem = problem_of(error)
        if problem is None:
            _log.error("request-failed", exc_info=error, request_id=self.request_id)
            problem = unforeseen()
        if self.status:
            raise error
        body = problem.body(self.request_id)
        headers = [(n.encode(), v.encode()) for n, v in problem.all_headers().items()]
        await self._whole(problem.http_status, headers, body)

    async def _whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        length = (b"content-length", str(len(body)).encode())
        start: Any = {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, length],
        }
        end: Any = {"type": "http.response.body", "body": body, "more_body": False}
        await self.send(start)
        await self._send(end)


def _kind_of(connection: str, path: str) -> LimitKind:
    if connection == "websocket":
        return LimitKind.STREAM
    return next((kind for start, kind in _KINDS if path.startswith(start)), LimitKind.REQUEST)


def _headers(scope: Any) -> dict[bytes, bytes]:  # noqa: ANN401
    """Return the headers by name; two Authorization headers make neither count."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name == b"authorization" and name in found:
            found[name] = b""
        else:
            found[name] = value
    return found


def _traceparent(scope: Any) -> str | None:  # noqa: ANN401
    """Return what the caller says its span is; two headers say nothing."""
    found = [value for name, value in scope["headers"] if name == b"traceparent"]
    return found[0].decode("latin-1") if len(found) == 1 else None


def _bearer(headers: dict[bytes, bytes]) -> str | None:
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not token:
        return None
    return token.strip(b" ").decode("latin-1")


def _bearer_protocol(offered: Any) -> str | None:  # noqa: ANN401
    tokens = [str(name) for name in offered if str(name).startswith(BEARER_SUBPROTOCOL)]
    return tokens[0].removeprefix(BEARER_SUBPROTOCOL) if len(tokens) == 1 else None


async def _refuse_stream(
    scope: Any,  # noqa: ANN401
    receive: Receive,
    send: Send,
    problem: Problem,
    identity: str,
) -> None:
    """Refuse before accepting: a problem where the server can send one, else a plain 403."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 4403, "reason": problem.fault})
        return
    headers = [(n.encode(), v.encode()) for n, v in problem.all_headers().items()]
    start: Any = {
        "type": "websocket.http.response.start",
        "status": problem.http_status,
        "headers": [*headers, (b"x-request-id", identity.encode())],
    }
    body: Any = {"type": "websocket.http.response.body", "body": problem.body(identity)}
    await send(start)
    await send(body)
