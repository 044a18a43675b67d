"""What a reading worker does with writes: it hands them to the writing one, token and all.

Invariants
  F1  a request that is not known to read only is forwarded
  F2  the writer verifies the forwarded token again; nothing vouches for it on the way
  F3  when the writer is away, writes are answered `unavailable` and reads go on
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge.controllers.body import read_body_raw
from sync_protocol import limits

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

    from edge.controllers.writer_link import WriterLink

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


class ForwardWrites:
    """An ASGI application in front of the routes of a reading worker."""

    def __init__(self, routes: ASGIApp, writer: WriterLink) -> None:
        self._routes = routes
        self._writer = writer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve reads here and hand everything else on (F1)."""
        if scope["type"] != "http" or _reads_only(scope["method"], scope["path"]):
            await self._routes(scope, receive, send)
            return
        context: Any = scope
        body = await read_body_raw(receive, bytes_max=limits.MESSAGE_BYTES_MAX)
        headers = [(n, v) for n, v in context["headers"] if n not in _HOP_BY_HOP]
        address = str(context["state"].get("address", ""))
        headers.append((CLIENT_HEADER, address.encode("ascii", "replace")))
        target = context["raw_path"].decode("ascii")
        if context["query_string"]:
            target += "?" + context["query_string"].decode("ascii")
        status, answered, content = await self._writer.request(
            context["method"], target, headers, body
        )
        kept = [(n.encode(), v.encode()) for n, v in answered.items() if n in _KEPT_ANSWER]
        kept.append((b"content-length", str(len(content)).encode()))
        start: Any = {"type": "http.response.start", "status": status, "headers": kept}
        end: Any = {"type": "http.response.body", "body": content, "more_body": False}
        await send(start)
        await send(end)


def mutations_as_msgpack(mutations: list[msgspec.Raw]) -> list[msgspec.Raw]:
    """Rewrite a push's JSON mutations, which the writer is sent as MessagePack."""
    rewritten: list[msgspec.Raw] = []
    for raw in mutations:
        try:
            rewritten.append(msgspec.Raw(msgspec.msgpack.encode(msgspec.json.decode(raw))))
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            rewritten.append(msgspec.Raw(msgspec.msgpack.encode(None)))
    return rewritten


def _reads_only(method: str, path: str) -> bool:
    if path.endswith(EXPORT_SUFFIX):
        return False  # an export is noted in the audit trail
    return method in READING_METHODS or path in READING_POSTS
