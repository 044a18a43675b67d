"""The gate of the second listener, which serves other nodes only.

Invariants
  J1  without a verified node token nothing is served but joining, and no body is read
  J2  a request that is forwarded for a phone goes to the public gate, whatever its path; a node's
      own goes to the internal routes, whatever its path: neither ever becomes the other
  J3  every answer carries x-request-id; every refusal is a problem document, and one of the node
      token itself says so in a header
  J4  bodies, requests in flight and attempts to join are bounded
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from edge.controllers.body import read_body_raw
from edge.errors import ClockApart, EdgeError, Forbidden, NotFound, Overloaded, Unauthenticated
from edge.observability import known_method, request_id
from edge.ports.tracing import NO_TRACER
from edge.problems import Problem, problem_of, unforeseen
from edge.services.fleet.calls import REFUSED_HEADER
from edge.services.fleet.node_tokens import NODE_HEADER
from edge.services.limits import LimitKind
from sync_protocol import limits as protocol_limits
from sync_protocol.errors import MessageTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.types import ASGIApp, Receive, Scope, Send

    from edge.ports.tracing import Tracer
    from edge.services.fleet.node_tokens import NodeCaller, NodeTokens
    from edge.services.limits import Limits

PREFIX: Final = "/internal/v1/"
JOIN_PATH: Final = "/internal/v1/join"
VAULT_PATH: Final = "/internal/v1/vault"
UNTRACED_PATHS: Final = frozenset({"/internal/v1/report", "/internal/v1/status"})
"""Asked many times a second by machines: their spans would bury those of people."""
BODY_BYTES_MAX: Final = protocol_limits.MESSAGE_BYTES_MAX + 64 * 1024
"""A push that an edge has written anew as MessagePack is hardly larger than it was as JSON."""
JOIN_BYTES_MAX: Final = 4 * 1024
VAULT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Some 300,000 password hashes; read only from a joined node."""
ADDRESS_LENGTH_MAX: Final = 64
_log = structlog.stdlib.get_logger(__name__)


class InternalGate:
    """An ASGI application: `routes` are the nodes' own endpoints, `public` is the gate of phones.

    `heard` is told of every verified caller, and with it of the epoch that the caller knows;
    `refused`, of every call whose token this node does not take.
    """

    def __init__(
        self,
        routes: ASGIApp,
        public: ASGIApp,
        *,
        tokens: NodeTokens,
        limits: Limits | None = None,
        heard: Callable[[NodeCaller], None] | None = None,
        refused: Callable[[], None] | None = None,
        requests_in_flight_max: int = 512,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._routes = routes
        self._public = public
        self._tokens = tokens
        self._limits = limits
        self._heard = heard
        self._refused = refused
        self._tracer = tracer
        self._in_flight = 0
        self._in_flight_max = requests_in_flight_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4403, "reason": ""})
        else:
            await _lifespan(receive, send)

    async def _http(self, scope: Any, receive: Receive, send: Send) -> None:  # noqa: ANN401
        answer = _Answer(scope, send)
        self._in_flight += 1
        try:
            if self._in_flight > self._in_flight_max:
                raise Overloaded("The node is busy with other calls.")  # noqa: TRY301
            if scope["path"] == JOIN_PATH:
                await self._join(scope, receive, answer)
                return
            caller, body = await self._admitted(scope, receive)
            if caller.claims.forwards:
                await self._public(_as_forwarded(scope), _replayed(body, receive), send)
                return
            if not scope["path"].startswith(PREFIX):
                raise NotFound("There is nothing at this address.")  # noqa: TRY301
            scope["auth"] = caller
            await self._own(scope, _replayed(body, receive), answer)
        except Exception as error:  # noqa: BLE001  (the last catch)
            await answer.fail(error)
        finally:
            self._in_flight -= 1

    async def _own(self, scope: Any, receive: Receive, answer: _Answer) -> None:  # noqa: ANN401
        """Serve a node's own call, as a part of the trace it names."""
        tracer = NO_TRACER if scope["path"] in UNTRACED_PATHS else self._tracer
        parent = _traceparent(scope) if tracer.is_on else None
        caller = caller_of(scope).node
        with tracer.span("internal", kind="server", parent=parent, node=caller) as span:
            await self._routes(scope, receive, answer.send)
            span.put(
                method=known_method(scope["method"]),
                route=scope.get("path_template") or "(none)",
                status=answer.status,
                request_id=answer.request_id,
            )

    async def _join(self, scope: Any, receive: Receive, answer: _Answer) -> None:  # noqa: ANN401
        client = scope.get("client")
        address = "" if client is None else str(client[0])[:ADDRESS_LENGTH_MAX]
        if self._limits is not None:
            self._limits.require(LimitKind.LOGIN, address=address)
        body = await _body(scope, receive, bytes_max=JOIN_BYTES_MAX)
        scope["state"]["address"] = address
        scope["auth"] = None
        await self._routes(scope, _replayed(body, receive), answer.send)

    async def _admitted(self, scope: Any, receive: Receive) -> tuple[NodeCaller, bytes]:  # noqa: ANN401
        """Verify the caller, read the body, verify it too (J1)."""
        token = _token(scope)
        try:
            caller = self._tokens.verify_head(token, method=scope["method"], target=_target(scope))
        except EdgeError as error:
            if self._refused is not None and isinstance(error, Unauthenticated):
                self._refused()
            raise _NodeRefused(error) from None
        is_vault = scope["path"] == VAULT_PATH
        body = await _body(
            scope, receive, bytes_max=VAULT_BYTES_MAX if is_vault else BODY_BYTES_MAX
        )
        try:
            self._tokens.verify_body(caller, body)
        except (Unauthenticated, ClockApart) as error:
            raise _NodeRefused(error) from None
        if self._heard is not None:
            self._heard(caller)
        return caller, body


class _NodeRefused(Exception):
    """A refusal of the node token, not of the request."""

    def __init__(self, error: EdgeError) -> None:
        super().__init__(error.message)
        self.error = error


class _Answer:
    """One answer on its way out."""

    def __init__(self, scope: Any, send: Send) -> None:  # noqa: ANN401
        given = next((v for n, v in scope["headers"] if n == b"x-request-id"), b"")
        self.request_id = request_id(given.decode("latin-1"))
        scope["state"] = {**scope.get("state", {}), "request_id": self.request_id}
        self._send = send
        self.status = 0

    async def send(self, message: Any) -> None:  # noqa: ANN401
        """Pass a message on; the first one gets the headers every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            identity = (b"x-request-id", self.request_id.encode())
            message["headers"] = [*message["headers"], identity]
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Answer with a problem, unless the answer has begun: then the connection is given up."""
        refused = error.error if isinstance(error, _NodeRefused) else None
        problem = problem_of(refused or error)
        if problem is None:
            _log.error("internal-call-failed", exc_info=error, request_id=self.request_id)
            problem = unforeseen()
        if self.status:
            raise error
        await self._whole(problem, is_of_node=refused is not None)

    async def _whole(self, problem: Problem, *, is_of_node: bool) -> None:
        body = problem.body(self.request_id)
        headers = [(n.encode(), v.encode()) for n, v in problem.all_headers().items()]
        headers.append((b"content-length", str(len(body)).encode()))
        if is_of_node:
            headers.append((REFUSED_HEADER.encode(), b"node"))
        start = {"type": "http.response.start", "status": problem.http_status, "headers": headers}
        await self.send(start)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


def _token(scope: Any) -> str:  # noqa: ANN401
    """Return the node token; none and several are refused alike."""
    found = [value for name, value in scope["headers"] if name == NODE_HEADER]
    if len(found) != 1:
        raise _NodeRefused(Unauthenticated("A node token is needed."))
    return found[0].decode("latin-1")


def _traceparent(scope: Any) -> str | None:  # noqa: ANN401
    """Return what the caller says its span is; two headers say nothing."""
    found = [value for name, value in scope["headers"] if name == b"traceparent"]
    return found[0].decode("latin-1") if len(found) == 1 else None


def _target(scope: Any) -> str:  # noqa: ANN401
    target: str = scope["raw_path"].decode("latin-1")
    query: bytes = scope["query_string"]
    return f"{target}?{query.decode('latin-1')}" if query else target


def _as_forwarded(scope: Any) -> Any:  # noqa: ANN401
    """Return a phone's request: without a client address the gate believes x-skerry-client."""
    headers = [(name, value) for name, value in scope["headers"] if name != NODE_HEADER]
    return {**scope, "headers": headers, "client": None, "state": {}}


async def _body(scope: Any, receive: Receive, *, bytes_max: int) -> bytes:  # noqa: ANN401
    declared = next((v for n, v in scope["headers"] if n == b"content-length"), b"0")
    if not declared.isdigit() or int(declared) > bytes_max:
        raise MessageTooLarge(bytes_max=bytes_max)
    return await read_body_raw(receive, bytes_max=bytes_max)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body that was read, then what the connection gives."""
    events: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Any:  # noqa: ANN401
        return events.pop() if events else await receive()

    return replay


async def _lifespan(receive: Receive, send: Send) -> None:
    """Answer the server; the routes behind are opened and closed by the public listener."""
    while True:
        event: Any = (await receive())["type"]
        answer: Any = {"type": f"{event}.complete"}
        await send(answer)
        if event == "lifespan.shutdown":
            return


def caller_of(scope: Any) -> NodeCaller:  # noqa: ANN401
    """Return the verified node behind a request to the internal routes."""
    caller: NodeCaller | None = scope.get("auth")
    if caller is None:
        raise Forbidden("This is for nodes.")
    return caller
