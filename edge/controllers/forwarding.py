"""What a node that does not write does with writes: it hands them to the one that does.

Invariants
  F1  a request that is not known to read only is forwarded, unless this node handles it itself
  F2  the writer verifies the forwarded token again; nothing vouches for it on the way
  F3  when the writer is away, writes are answered `unavailable` and reads go on; what this node can
      stand in for is then served here
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from edge.controllers.body import read_body_raw
from edge.errors import Unavailable
from edge.ports.tracing import NO_TRACER
from sync_protocol import limits

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

    from edge.ports.tracing import Tracer

READING_POSTS: Final = frozenset({"/v1/sync/pull", "/v1/sync/repair"})
READING_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
EXPORT_SUFFIX: Final = "/export"
CLIENT_HEADER: Final = b"x-skerry-client"
"""The client's address on the way to the writer, which believes it on its unix socket alone."""
_HOP_BY_HOP: Final = frozenset(
    {
        CLIENT_HEADER,
        b"connection",
        b"keep-alive",
        b"transfer-encoding",
        b"te",
        b"upgrade",
        b"host",
        b"expect",
    }
)
_KEPT_ANSWER: Final = frozenset(
    {
        "content-type",
        "content-encoding",
        "content-disposition",
        "retry-after",
        "etag",
        "cache-control",
        "vary",
    }
)


class Forwards(Protocol):
    """The way to the node, or process, that writes."""

    async def request(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and still compressed body; raises Unavailable without any."""
        ...


class ForwardWrites:
    """An ASGI application in front of the routes of a node that reads.

    `local` are paths of POSTs that this node handles itself, beside READING_POSTS; `fallback` those
    that it handles itself only while the writer is away.
    """

    def __init__(
        self,
        routes: ASGIApp,
        upstream: Forwards,
        *,
        local: frozenset[str] = frozenset(),
        fallback: frozenset[str] = frozenset(),
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._routes = routes
        self._upstream = upstream
        self._local = local | READING_POSTS
        self._fallback = fallback
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve here what belongs here and hand everything else on (F1)."""
        if scope["type"] != "http" or self._is_local(scope["method"], scope["path"]):
            await self._routes(scope, receive, send)
            return
        context: Any = scope
        body = await read_body_raw(receive, bytes_max=limits.MESSAGE_BYTES_MAX)
        try:
            status, answered, content = await self._forwarded(context, body)
        except Unavailable:
            if context["method"] != "POST" or context["path"] not in self._fallback:
                raise
            await self._routes(scope, _replayed(body, receive), send)
            return
        kept = [(n.encode(), v.encode()) for n, v in answered.items() if n in _KEPT_ANSWER]
        kept.append((b"content-length", str(len(content)).encode()))
        start: Any = {"type": "http.response.start", "status": status, "headers": kept}
        end: Any = {"type": "http.response.body", "body": content, "more_body": False}
        await send(start)
        await send(end)

    async def _forwarded(self, context: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:  # noqa: ANN401  (an ASGI scope)
        headers = [(n, v) for n, v in context["headers"] if n not in _HOP_BY_HOP]
        address = str(context["state"].get("address", ""))
        headers.append((CLIENT_HEADER, address.encode("ascii", "replace")))
        target = context["raw_path"].decode("ascii")
        if context["query_string"]:
            target += "?" + context["query_string"].decode("ascii")
        traced = self._tracer.inject(headers)
        return await self._upstream.request(context["method"], target, traced, body)

    def _is_local(self, method: str, path: str) -> bool:
        if path.endswith(EXPORT_SUFFIX):
            return False  # an export is noted in the audit trail
        return method in READING_METHODS or (method == "POST" and path in self._local)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that tells of a body that was read already, then of what comes after."""
    events: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Any:  # noqa: ANN401  (an ASGI event)
        return events.pop() if events else await receive()

    return replay


def mutations_as_msgpack(mutations: list[msgspec.Raw]) -> list[msgspec.Raw]:
    """Rewrite a push's JSON mutations, which the writer is sent as MessagePack."""
    rewritten: list[msgspec.Raw] = []
    for raw in mutations:
        try:
            rewritten.append(msgspec.Raw(msgspec.msgpack.encode(msgspec.json.decode(raw))))
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            rewritten.append(msgspec.Raw(msgspec.msgpack.encode(None)))
    return rewritten
