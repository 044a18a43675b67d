"""The WebSocket /v1/sync/stream: one device, from hello to the end of its token.

The session decides (sync_protocol.session.server); this is the shell around it: a reader, a writer
and the subscription feed it events, and it carries out the effects.

Invariants
  W1  a stream ends when its token does
  W2  whoever does not read for `send_timeout_s` is closed; until then only pokes are lost
  W3  streams per person and per node are bounded, and counted exactly
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect

from core.ids import DeviceNumber
from edge.controllers.endpoints import Endpoints
from edge.controllers.forwarding import mutations_as_msgpack
from edge.controllers.outbox import Outbox, PokeFrames
from edge.controllers.principal import principal_of
from edge.ports.tracing import NO_TRACER
from edge.problems import fault_of
from edge.services.session import DeviceSession
from sync_protocol import limits
from sync_protocol.codec import Media, decode_client, decode_mutations
from sync_protocol.errors import MalformedMessage, MessageTooLarge, ProtocolError
from sync_protocol.faults import FaultKind
from sync_protocol.messages.fault import Fault, Request
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from sync_protocol.messages.repair import Repair
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.messages.welcome import Welcome
from sync_protocol.session import effects as do
from sync_protocol.session import events as on
from sync_protocol.session.server import ServerSession
from sync_protocol.transport import STREAM_PATH, SUBPROTOCOLS

if TYPE_CHECKING:
    from litestar.handlers import WebsocketRouteHandler

    from edge.observability import Metrics
    from edge.ports.identity_records import RevocationRecord
    from edge.ports.tracing import Tracer
    from edge.services.node import Node, Tenant
    from edge.services.session import Principal
    from edge.services.upstream import Upstream

CLOSE_NORMAL: Final = 1000
CLOSE_UNAUTHENTICATED: Final = 4401
CLOSE_FAULT: Final = 4400
CLOSE_OVERLOADED: Final = 4503
HELLO_SECONDS_MAX: Final = 30
"""A stream that does not introduce itself only holds a place."""
_REQUESTS: Final[dict[type, Request]] = {
    Hello: "hello",
    Push: "push",
    Pull: "pull",
    Repair: "repair",
}
_TRACED: Final[frozenset[Request]] = frozenset({"push", "pull"})
_GONE: Final = (OSError, WebSocketDisconnect)
"""What sending to a peer that has left raises: nothing to tell anybody."""
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """How many streams there may be, and how long a reader may stall."""

    streams_max: int
    streams_per_person_max: int
    send_timeout_s: float


class StreamController(Endpoints):
    """Accepts streams and counts them. With an `upstream`, hellos and pushes are handed to it."""

    def __init__(
        self,
        node: Node,
        metrics: Metrics,
        bounds: StreamLimits,
        *,
        upstream: Upstream | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.node = node
        self.upstream = upstream
        self.metrics = metrics
        self.bounds = bounds
        self.tracer = tracer
        self.pokes = PokeFrames()
        self._count = 0
        self._per_person: Counter[tuple[str, str]] = Counter()
        self._open: dict[tuple[str, str], dict[_Stream, None]] = {}
        """Each person's streams, in the order in which they were opened."""

    def routes(self) -> list[WebsocketRouteHandler]:
        """Return the route."""
        return [websocket(STREAM_PATH, name="sync.stream")(self.stream)]

    async def stream(self, socket: WebSocket[Any, Any, Any]) -> None:
        """Serve one stream until either side ends it."""
        principal = principal_of(socket)
        offered = socket.scope["subprotocols"]
        agreed = next((name for name in offered if name in SUBPROTOCOLS), None)
        await socket.accept(subprotocols=agreed)
        person = (principal.tenant, principal.person)
        if (
            self._count >= self.bounds.streams_max
            or self._per_person[person] >= self.bounds.streams_per_person_max
        ):
            await socket.close(code=CLOSE_OVERLOADED, reason="too many streams")
            return
        self._count += 1
        self._per_person[person] += 1
        self.metrics.streams.inc()
        try:
            tenant = await self.node.tenant(principal.tenant)
            media = None if agreed is None else SUBPROTOCOLS[agreed]
            stream = _Stream(self, socket, principal, tenant, media)
            self._open.setdefault(person, {})[stream] = None
            try:
                await stream.run()
            finally:
                self._open[person].pop(stream, None)
                if not self._open[person]:
                    del self._open[person]
        finally:
            self._count -= 1
            self._per_person[person] -= 1
            if not self._per_person[person]:
                del self._per_person[person]
            self.metrics.streams.dec()

    def revoked(self, revocation: RevocationRecord) -> None:
        """End the streams whose tokens are worth nothing any more (W1)."""
        for (tenant, person), streams in list(self._open.items()):
            if tenant == revocation.tenant:
                for stream in list(streams):
                    stream.end_if_revoked(revocation, person)


class _Stream:
    """The shell around one session."""

    def __init__(
        self,
        controller: StreamController,
        socket: WebSocket[Any, Any, Any],
        principal: Principal,
        tenant: Tenant,
        media: Media | None,
    ) -> None:
        self._metrics = controller.metrics
        self._upstream = controller.upstream
        self._tracer = controller.tracer
        opened_in: str | None = socket.scope["state"].get("traceparent")
        self._links = () if opened_in is None else (opened_in,)
        self._send_timeout_s = controller.bounds.send_timeout_s
        self._socket = socket
        self._principal = principal
        self._tenant = tenant
        self._session = ServerSession()
        self._outbox = Outbox(controller.pokes, on_dropped=self._metrics.dropped_pokes.inc)
        self._device: DeviceSession | None = None
        self._media = media
        """What was agreed on, or what the first frame is in."""
        if media is not None:
            self._outbox.media = media
        self._tasks: set[asyncio.Task[None]] = set()
        self._close_code = CLOSE_NORMAL

    async def run(self) -> None:
        """Read until the end; the writer, the subscription and requests are tasks beside it."""
        loop = asyncio.get_running_loop()
        lifetime_s = max(0.0, self._principal.expires_unix_s - time.time())
        timers = [
            loop.call_later(lifetime_s, self._expire),
            loop.call_later(HELLO_SECONDS_MAX, self._expect_hello),
        ]
        writer = asyncio.create_task(self._write())
        reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait({writer, reader}, return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                self._feed(on.Disconnected())
                self._outbox.close()
        finally:
            for timer in timers:
                timer.cancel()
            pending = {reader, writer, *self._tasks}
            for task in pending:
                task.cancel()
            for outcome in await asyncio.gather(*pending, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, _GONE):
                    _log.error("stream-task-failed", exc_info=outcome)

    async def _read(self) -> None:
        while True:
            event: Any = await self._socket.receive()
            if event["type"] == "websocket.disconnect":
                return
            try:
                message = self._decoded(event)
            except ProtocolError as error:
                self._end(error.to_fault())
                continue
            self._feed(on.Received(message))

    def _decoded(self, event: Any) -> ClientMessage:  # noqa: ANN401  (an ASGI event)
        text: str | None = event.get("text")
        media = Media.MSGPACK if text is None else Media.JSON
        if self._media is None:
            self._media = self._outbox.media = media
        elif media is not self._media:
            raise MalformedMessage("a stream keeps to the media type it began with")
        if text is not None and len(text) > limits.MESSAGE_BYTES_MAX:
            raise MessageTooLarge(bytes_max=limits.MESSAGE_BYTES_MAX)
        return decode_client(event["bytes"] if text is None else text.encode(), media)

    async def _write(self) -> None:
        while (frame := await self._outbox.take()) is not None:
            event: Any = {"type": "websocket.send"}
            if self._outbox.media is Media.JSON:
                event["text"] = frame.decode()
            else:
                event["bytes"] = frame
            try:
                async with asyncio.timeout(self._send_timeout_s):
                    await self._socket.send(event)
            except TimeoutError:
                return  # W2; a close frame would only wait behind what is not read
            # The next one may come in hours: until then this one would be kept, a page of 1 MiB.
            del frame, event
        close: Any = {"type": "websocket.close", "code": self._close_code, "reason": ""}
        await self._socket.send(close)

    def _feed(self, event: on.ServerEvent) -> None:
        """Hand an event to the session and carry out what it asks for."""
        for effect in self._session.handle(event):
            if isinstance(effect, do.Send):
                message: Any = effect.message  # a server sends server messages
                self._outbox.put(message)
            elif isinstance(effect, do.Serve):
                self._start(self._serve(effect.message))
            elif isinstance(effect, do.Close):
                if self._close_code == CLOSE_NORMAL:
                    self._close_code = CLOSE_FAULT
                self._outbox.close()

    def _start(self, work: Any) -> None:  # noqa: ANN401  (a coroutine of this class)
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("stream-task-failed", exc_info=error)
            self._end(Fault(fault=FaultKind.INTERNAL, message="The stream failed."))

    async def _serve(self, message: ClientMessage) -> None:
        request = _REQUESTS[type(message)]
        tracer = self._tracer if request in _TRACED else NO_TRACER
        # The stream lives for hours: what is done on it are traces of their own, linked to it.
        with tracer.span(
            f"stream {request}", kind="server", links=self._links, tenant=self._principal.tenant
        ) as span:
            try:
                answer = await self._answer(message)
            except Exception as error:  # noqa: BLE001  (every failure is answered, and logged once)
                answer = fault_of(error)
                span.put(outcome=str(answer.fault))
                if answer.fault is FaultKind.INTERNAL:
                    span.put(status=500)
                    _log.error("request-failed", exc_info=error)
        self._feed(on.Answered(request, answer))
        if isinstance(answer, Welcome):
            self._start(self._follow(answer))

    async def _answer(self, message: ClientMessage) -> ServerMessage:
        if isinstance(message, Hello):
            welcome = await self._greet(message)
            self._device = DeviceSession(
                self._principal, DeviceNumber(welcome.device), message.schema_version
            )
            return welcome
        if isinstance(message, Push) and self._upstream is not None:
            if self._outbox.media is Media.JSON:
                message.mutations = mutations_as_msgpack(message.mutations)
            return await self._upstream.push(self._principal, self._token, message)
        device = await self._tenant.devices.session(
            self._principal, message.device, message.schema_version
        )
        if isinstance(message, Push):
            mutations = decode_mutations(message, self._outbox.media)
            self._metrics.push_mutations.observe(len(mutations))
            return await self._tenant.ingest.push(device, message, mutations)
        if isinstance(message, Pull):
            return await self._tenant.pulls.pull(device, message)
        return await self._tenant.pulls.repair(device, message)

    async def _greet(self, message: Hello) -> Welcome:
        if self._upstream is None:
            return await self._tenant.devices.hello(self._principal, message)
        return await self._upstream.hello(self._principal, self._token, message)

    @property
    def _token(self) -> str:
        return str(self._socket.scope["auth"])

    async def _follow(self, welcome: Welcome) -> None:
        """Tell the session of every change from welcome on."""
        assert self._device is not None
        subscription = await self._tenant.live.subscribe(self._device, welcome.sequence)
        try:
            async for told in subscription:
                if isinstance(told, Poke):
                    self._feed(on.Changed(told))
                else:
                    self._feed(on.ProvisionalChanged(told))
        finally:
            subscription.close()
        # Nobody will tell this stream anything any more: the device says hello again.
        self._end(Fault(fault=FaultKind.UNAVAILABLE, message="The subscription has ended."))

    def end_if_revoked(self, revocation: RevocationRecord, person: str) -> None:
        """End the stream if its token belongs to what was revoked."""
        session = self._principal.session
        if revocation.kind == "session":
            is_meant = session == revocation.subject
        else:
            is_meant = not session and person == revocation.subject
        if is_meant:
            self._expire("The session has ended.")

    def _expire(self, message: str = "The token has expired.") -> None:
        self._close_code = CLOSE_UNAUTHENTICATED
        self._end(Fault(fault=FaultKind.UNAUTHENTICATED, message=message))

    def _expect_hello(self) -> None:
        if self._device is None:
            self._end(Fault(fault=FaultKind.OUT_OF_TURN, message="A stream begins with hello."))

    def _end(self, fault: Fault) -> None:
        self._feed(on.Expelled(fault))
