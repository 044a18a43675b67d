"""What nodes ask each other: pushes and greetings of an edge's phones, reports, claims to lead.

The `nodes` endpoints are for the node's own operator alone, who signs with the node's own key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import structlog
from litestar import Litestar, Request, Response, get, post

from edge.controllers.endpoints import AnyRequest, Endpoints
from edge.controllers.internal_gate import PREFIX, caller_of
from edge.dto.fleet import (
    HeardBody,
    InvitedBody,
    InvitingBody,
    JoiningBody,
    LeadershipBody,
    NodeBody,
    NodeNameBody,
    NodesBody,
    ReportBody,
    RevokedBody,
)
from edge.errors import Forbidden, Unavailable
from edge.problems import problem_of, unforeseen
from edge.services.fleet.vouched import vouched_for
from sync_protocol.codec import Media, decode_client, decode_mutations, encode
from sync_protocol.errors import MalformedMessage
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.push import Push

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge.observability import Metrics
    from edge.services.fleet.membership import Membership
    from edge.services.fleet.node_tokens import NodeCaller
    from edge.services.identity.trust import Trust
    from edge.services.node import Node

T = TypeVar("T")
OCTETS: Final = "application/octet-stream"
OPERATOR: Final = "operator"
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalParts:
    """What the internal endpoints stand on; the composition root fills it in.

    `is_primary` tells whether this node takes writes now. The callables answer for the fleet's
    services; each is told who asks.
    """

    node: Node
    own: str
    trust: Trust
    membership: Membership
    metrics: Metrics
    now_ms: Callable[[], int]
    is_primary: Callable[[], bool]
    on_report: Callable[[NodeCaller, ReportBody], Awaitable[HeardBody]]
    on_leadership: Callable[[NodeCaller, LeadershipBody], Awaitable[LeadershipBody]]
    on_status: Callable[[NodeCaller], Awaitable[dict[str, Any]]]
    on_vault: Callable[[NodeCaller, bytes], Awaitable[bytes]]


class InternalController(Endpoints):
    """One handler per question."""

    def __init__(self, parts: InternalParts) -> None:
        self._parts = parts

    def routes(self) -> list[Any]:
        """Return the routes; bodies are read by hand, so Litestar parses nothing."""
        posts = {
            "push": self.push,
            "hello": self.hello,
            "report": self.report,
            "leadership": self.leadership,
            "join": self.join,
            "vault": self.vault,
            "nodes/invite": self.invite,
            "nodes/revoke": self.revoke,
            "nodes/remove": self.remove,
        }
        return [
            *(post(PREFIX + path, status_code=200, name=path)(do) for path, do in posts.items()),
            get(PREFIX + "status", name="status")(self.status),
            get(PREFIX + "nodes", name="nodes")(self.nodes),
        ]

    async def push(self, request: AnyRequest) -> Response[bytes]:
        """Take a push of an edge's phone; the answer is `pushed`."""
        caller, parts = self._caller_of_primary(request), self._parts
        now_ms = parts.now_ms()
        principal = vouched_for(caller, parts.trust, now_ms=now_ms, may_relay=True)
        message = decode_client(await request.body())
        if not isinstance(message, Push):
            raise MalformedMessage("this address takes push messages only")
        tenant = await parts.node.tenant(principal.tenant)
        session = await tenant.devices.session(principal, message.device, message.schema_version)
        mutations = decode_mutations(message, Media.MSGPACK)
        parts.metrics.push_mutations.observe(len(mutations))
        return _octets(encode(await tenant.ingest.push(session, message, mutations)), Media.MSGPACK)

    async def hello(self, request: AnyRequest) -> Response[bytes]:
        """Introduce an edge's phone; the answer is `welcome`."""
        caller, parts = self._caller_of_primary(request), self._parts
        principal = vouched_for(caller, parts.trust, now_ms=parts.now_ms())
        message = decode_client(await request.body())
        if not isinstance(message, Hello):
            raise MalformedMessage("this address takes hello messages only")
        tenant = await parts.node.tenant(principal.tenant)
        return _octets(encode(await tenant.devices.hello(principal, message)), Media.MSGPACK)

    async def report(self, request: AnyRequest) -> Response[bytes]:
        """Take what a node has read; answer who leads and what is replicated."""
        caller = caller_of(request.scope)
        body = _decoded(await request.body(), ReportBody, msgspec.msgpack.decode)
        heard = await self._parts.on_report(caller, body)
        return _octets(msgspec.msgpack.encode(heard), Media.MSGPACK)

    async def leadership(self, request: AnyRequest) -> Response[bytes]:
        """Hear a claim to lead; answer who leads as far as this node knows."""
        caller = caller_of(request.scope)
        body = _decoded(await request.body(), LeadershipBody, msgspec.json.decode)
        return _json(await self._parts.on_leadership(caller, body))

    async def join(self, request: AnyRequest) -> Response[bytes]:
        """Take a new node in, for its one-time token."""
        if not self._parts.is_primary():
            raise Unavailable("This node is not the primary.")
        joining = _decoded(await request.body(), JoiningBody, msgspec.json.decode)
        address = str(request.scope["state"].get("address", ""))
        return _json(await self._parts.membership.join(joining, address=address))

    async def status(self, request: AnyRequest) -> Response[bytes]:
        """Tell another node how this one is."""
        return _json(await self._parts.on_status(caller_of(request.scope)))

    async def vault(self, request: AnyRequest) -> Response[bytes]:
        """Hand the vault over, to whom and when the fleet's services decide."""
        caller = caller_of(request.scope)
        return _octets(await self._parts.on_vault(caller, await request.body()), OCTETS)

    async def nodes(self, request: AnyRequest) -> Response[bytes]:
        """List the fleet."""
        self._require_own(request)
        leading = self._parts.trust.leadership()
        return _json(
            NodesBody(
                [
                    NodeBody(
                        entry.node,
                        entry.region,
                        entry.url,
                        entry.state.value,
                        entry.joined_ms,
                        leading is not None and leading.node == entry.node,
                    )
                    for entry in await self._parts.membership.list()
                ]
            )
        )

    async def invite(self, request: AnyRequest) -> Response[bytes]:
        """Make a one-time token for a new node."""
        self._require_own(request)
        self._caller_of_primary(request)
        body = _decoded(await request.body(), InvitingBody, msgspec.json.decode)
        invited = await self._parts.membership.invite(
            body.node, body.region, ttl_s=body.ttl_s, actor=OPERATOR
        )
        return _json(InvitedBody(invited.token, invited.expires_ms))

    async def revoke(self, request: AnyRequest) -> Response[bytes]:
        """Revoke a node's keys."""
        name = await self._named(request)
        return _json(RevokedBody(await self._parts.membership.revoke(name, actor=OPERATOR)))

    async def remove(self, request: AnyRequest) -> Response[bytes]:
        """Take a node out for ever."""
        name = await self._named(request)
        return _json(RevokedBody(await self._parts.membership.remove(name, actor=OPERATOR)))

    async def _named(self, request: AnyRequest) -> str:
        self._require_own(request)
        self._caller_of_primary(request)
        return _decoded(await request.body(), NodeNameBody, msgspec.json.decode).node

    def _require_own(self, request: AnyRequest) -> None:
        if caller_of(request.scope).node != self._parts.own:
            raise Forbidden("This is for the node's own operator.")

    def _caller_of_primary(self, request: AnyRequest) -> NodeCaller:
        caller = caller_of(request.scope)
        if not self._parts.is_primary():
            raise Unavailable("This node is not the primary.")
        return caller


def internal_routes(parts: InternalParts) -> Litestar:
    """Make the application behind the internal gate; it needs no lifespan."""
    return Litestar(
        route_handlers=InternalController(parts).routes(),
        exception_handlers={Exception: _answer_error},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
        debug=False,
    )


def _answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer an error with its problem document; the unforeseen is logged, and not told."""
    request_id = str(request.scope["state"].get("request_id", ""))
    problem = problem_of(error)
    if problem is None:
        _log.error("internal-call-failed", exc_info=error, request_id=request_id)
        problem = unforeseen()
    headers = problem.all_headers()
    return Response(
        problem.body(request_id),
        status_code=problem.http_status,
        media_type=headers.pop("content-type"),
        headers=headers,
    )


def _decoded(body: bytes, kind: type[T], decode: Callable[..., Any]) -> T:
    try:
        return decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MalformedMessage(f"{error!s:.200}") from None


def _json(document: Any) -> Response[bytes]:  # noqa: ANN401  (a struct, or plain JSON)
    return _octets(msgspec.json.encode(document), Media.JSON)


def _octets(body: bytes, media: str) -> Response[bytes]:
    return Response(body, media_type=media, headers={"cache-control": "no-store"})
