"""POST /v1/sync/*: the protocol's messages over plain HTTP, for background fetches and pushes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from litestar import Response, Router, post

from edge.controllers.answer import answer_media, message_answer
from edge.controllers.body import read_body
from edge.controllers.endpoints import AnyRequest, Endpoints
from edge.controllers.forwarding import mutations_as_msgpack
from edge.controllers.principal import principal_of
from sync_protocol.codec import Media, decode_client, decode_mutations, media_of
from sync_protocol.errors import MalformedMessage
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from sync_protocol.messages.repair import Repair

if TYPE_CHECKING:
    from edge.observability import Metrics
    from edge.services.node import Node, Tenant
    from edge.services.session import Principal
    from edge.services.upstream import Upstream

M = TypeVar("M", Hello, Push, Pull, Repair)
PATH: Final = "/v1/sync"


class SyncController(Endpoints):
    """One handler per message that a device may send.

    With an `upstream`, hellos and pushes are handed to it.
    """

    def __init__(self, node: Node, metrics: Metrics, *, upstream: Upstream | None = None) -> None:
        self._node = node
        self._metrics = metrics
        self._upstream = upstream

    def router(self) -> Router:
        """Return the routes; bodies are read by hand, so Litestar parses nothing."""
        return Router(
            PATH,
            route_handlers=[
                post("/hello", status_code=200, name="sync.hello")(self.hello),
                post("/push", status_code=200, name="sync.push")(self.push),
                post("/pull", status_code=200, name="sync.pull")(self.pull),
                post("/repair", status_code=200, name="sync.repair")(self.repair),
            ],
        )

    async def hello(self, request: AnyRequest) -> Response[bytes]:
        """Introduce a device; the answer is `welcome`."""
        principal, tenant = await self._who(request)
        message, media = await self._message(request, Hello)
        if self._upstream is None:
            welcome = await tenant.devices.hello(principal, message)
        else:
            welcome = await self._upstream.hello(principal, _token(request), message)
        return await message_answer(request, welcome, answer_media(request, media))

    async def push(self, request: AnyRequest) -> Response[bytes]:
        """Take mutations; the answer is `pushed`, with a receipt for each."""
        principal, tenant = await self._who(request)
        message, media = await self._message(request, Push)
        if self._upstream is not None:
            if media is Media.JSON:
                message.mutations = mutations_as_msgpack(message.mutations)
            self._metrics.push_mutations.observe(len(message.mutations))
            pushed = await self._upstream.push(principal, _token(request), message)
            return await message_answer(request, pushed, answer_media(request, media))
        session = await tenant.devices.session(principal, message.device, message.schema_version)
        mutations = decode_mutations(message, media)
        self._metrics.push_mutations.observe(len(mutations))
        pushed = await tenant.ingest.push(session, message, mutations)
        return await message_answer(request, pushed, answer_media(request, media))

    async def pull(self, request: AnyRequest) -> Response[bytes]:
        """Return what came after a cursor; the answer is `page`."""
        principal, tenant = await self._who(request)
        message, media = await self._message(request, Pull)
        session = await tenant.devices.session(principal, message.device, message.schema_version)
        page = await tenant.pulls.pull(session, message)
        return await message_answer(request, page, answer_media(request, media))

    async def repair(self, request: AnyRequest) -> Response[bytes]:
        """Compare digests bucket by bucket; the answer is `repaired`."""
        principal, tenant = await self._who(request)
        message, media = await self._message(request, Repair)
        session = await tenant.devices.session(principal, message.device, message.schema_version)
        repaired = await tenant.pulls.repair(session, message)
        return await message_answer(request, repaired, answer_media(request, media))

    async def _who(self, request: AnyRequest) -> tuple[Principal, Tenant]:
        principal = principal_of(request)
        return principal, await self._node.tenant(principal.tenant)

    async def _message(self, request: AnyRequest, kind: type[M]) -> tuple[M, Media]:
        media = media_of(request.headers.get("content-type"))
        body = await read_body(request)
        self._metrics.body_bytes.inc(len(body))
        message = decode_client(body, media)
        if not isinstance(message, kind):
            raise MalformedMessage(f"this address takes {kind.__name__.lower()} messages only")
        return message, media


def _token(request: AnyRequest) -> str:
    """Return the bearer token that the gate has verified."""
    return str(request.scope["auth"])
