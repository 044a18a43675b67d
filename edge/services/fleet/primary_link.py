"""The way from an edge to the primary: pushes, greetings, reports, and phones' other writes.

Invariants
  L1  whatever the primary refuses comes as the error it names; only its absence is Unavailable
  L2  no call waits longer than its deadline, and after some failures in a row none is made for a
      moment: phones are answered at once (edge.services.fleet.breaker)
  L3  a phone's request never becomes the node's own: it is signed as forwarded, and targets of
      nodes' own endpoints are not forwarded
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import unquote

import msgspec
import stamina

from core.fleet import Leadership
from edge.errors import NotFound, Unavailable
from edge.services.fleet.breaker import Breaker
from edge.services.fleet.messages import HeardBody, ReportBody
from edge.services.fleet.models import principal_from_json
from sync_protocol.codec import Media, decode_server, encode
from sync_protocol.errors import ProtocolError
from sync_protocol.messages.push import Push
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.welcome import Welcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edge.ports.fleet import OutboxEntry
    from edge.services.fleet.breaker import BreakerState
    from edge.services.fleet.calls import SignedCalls
    from edge.services.identity.trust import Trust
    from edge.services.session import Principal
    from sync_protocol.messages.hello import Hello
    from sync_protocol.messages.union import ServerMessage

_T = TypeVar("_T")
INTERNAL: Final = "/internal"
PUSH_PATH: Final = "/internal/v1/push"
HELLO_PATH: Final = "/internal/v1/hello"
REPORT_PATH: Final = "/internal/v1/report"
PUSH_S: Final = 15.0
"""A push waits for its commit and a place in the queue; a phone waits no longer for its receipt."""
HELLO_S: Final = 5.0
FORWARD_S: Final = 30.0
ATTEMPTS: Final = 2
RETRY_WAIT_S: Final = 0.05
RETRY_SECONDS_MIN: Final = 0.5
"""What must be left of a deadline for a second attempt to be worth it."""
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Methods that may be sent again when no answer came (RFC 9110, section 9.2.2)."""
_encode_report = msgspec.msgpack.Encoder().encode
_decode_heard = msgspec.msgpack.Decoder(HeardBody).decode


class PrimaryLink:
    """The primary, wherever it is now; implements edge.services.upstream.Upstream."""

    def __init__(
        self,
        calls: SignedCalls,
        trust: Trust,
        *,
        fallback: Leadership | None = None,
        url: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls = calls
        self._trust = trust
        self._fallback = fallback
        self._url = url
        self._clock = clock
        self._primary: Leadership | None = None
        self._breaker = Breaker("primary", clock=clock)

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open: calls fail at once."""
        self._leader_or_none()
        return self._breaker.is_open

    @property
    def breaker_state(self) -> BreakerState:
        """The state of the circuit to whoever is the primary now."""
        self._leader_or_none()
        return self._breaker.state

    def leader(self) -> Leadership:
        """Return whom this link calls; raises Unavailable before anybody is known."""
        leader = self._leader_or_none()
        if leader is None or not leader.url:
            raise Unavailable("This node does not know the primary yet.")
        return replace(leader, url=self._url) if self._url else leader

    def follow(self, leadership: Leadership) -> None:
        """Call this primary from now on, unless a higher epoch is known."""
        if self._fallback is None or leadership.epoch > self._fallback.epoch:
            self._fallback = leadership

    async def hello(self, principal: Principal, token: str, hello: Hello) -> Welcome:
        """Introduce a device where its number is given."""
        answer = await self._message(HELLO_PATH, principal, hello, deadline_s=HELLO_S)
        if not isinstance(answer, Welcome):
            raise Unavailable("The primary answers nonsense.")
        return answer

    async def push(self, principal: Principal, token: str, push: Push) -> Pushed:
        """Hand a push on; its mutations are encoded as MessagePack."""
        return await self._push(principal, push, accepted_ms=0)

    async def relay(self, entries: Sequence[OutboxEntry]) -> Pushed:
        """Hand on what was accepted while the primary was away.

        All entries are of one device, schema version and principal, by counter. Whether the person
        was still welcome is judged by when the last of them was accepted.
        """
        assert entries, "there is something to relay"
        last = entries[-1]
        assert len({(e.tenant, e.device, e.schema_version, e.principal) for e in entries}) == 1
        push = Push(
            last.device,
            last.clock,
            last.schema_version,
            [msgspec.Raw(entry.payload) for entry in entries],
        )
        principal = principal_from_json(last.principal)
        return await self._push(principal, push, accepted_ms=last.accepted_ms)

    async def report(self, report: ReportBody) -> HeardBody:
        """Tell the primary how far this node has read; returns what it answers."""
        body = await self._ask(REPORT_PATH, _encode_report(report), deadline_s=HELLO_S)
        try:
            return _decode_heard(body)
        except (msgspec.DecodeError, RecursionError):
            raise Unavailable("The primary answers nonsense.") from None

    async def request(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Forward a phone's request; return status, headers and still compressed body."""
        if unquote(target).lower().lstrip("/").startswith(INTERNAL[1:]):
            raise NotFound("There is nothing at this address.")  # L3
        leader = self.leader()
        answer = await self._tried(
            lambda left_s: self._calls.request(
                leader.url,
                leader.node,
                method,
                target,
                headers=headers,
                body=body,
                epoch=leader.epoch,
                forwards=True,
                deadline_s=left_s,
            ),
            deadline_s=FORWARD_S,
            attempts=ATTEMPTS if method in _REPEATABLE else 1,
        )
        return answer.status, dict(answer.headers), answer.body

    async def _push(self, principal: Principal, push: Push, *, accepted_ms: int) -> Pushed:
        answer = await self._message(
            PUSH_PATH, principal, push, accepted_ms=accepted_ms, deadline_s=PUSH_S
        )
        if not isinstance(answer, Pushed):
            raise Unavailable("The primary answers nonsense.")
        return answer

    async def _message(
        self,
        path: str,
        principal: Principal,
        message: Hello | Push,
        *,
        accepted_ms: int = 0,
        deadline_s: float,
    ) -> ServerMessage:
        body = await self._ask(
            path,
            encode(message),
            principal=principal,
            accepted_ms=accepted_ms,
            deadline_s=deadline_s,
        )
        try:
            return decode_server(body)
        except ProtocolError:
            raise Unavailable("The primary answers nonsense.") from None

    async def _ask(
        self,
        path: str,
        body: bytes,
        *,
        principal: Principal | None = None,
        accepted_ms: int = 0,
        deadline_s: float,
    ) -> bytes:
        leader = self.leader()
        return await self._tried(
            lambda left_s: self._calls.ask(
                leader.url,
                leader.node,
                path,
                body,
                media=Media.MSGPACK,
                epoch=leader.epoch,
                principal=principal,
                accepted_ms=accepted_ms,
                deadline_s=left_s,
            ),
            deadline_s=deadline_s,
        )

    async def _tried(
        self,
        call: Callable[[float], Awaitable[_T]],
        *,
        deadline_s: float,
        attempts: int = ATTEMPTS,
    ) -> _T:
        """Make a call through the breaker, once more if the connection failed at once (L2)."""
        end = self._clock() + deadline_s

        def is_worth_it(error: Exception) -> bool:
            return isinstance(error, Unavailable) and end - self._clock() >= RETRY_SECONDS_MIN

        async with self._breaker.call():
            async for attempt in stamina.retry_context(
                on=is_worth_it,
                attempts=attempts,
                timeout=deadline_s,
                wait_initial=RETRY_WAIT_S,
                wait_jitter=RETRY_WAIT_S,
            ):
                with attempt:
                    return await call(max(end - self._clock(), 0.001))
        raise AssertionError("an attempt returns or raises")

    def _leader_or_none(self) -> Leadership | None:
        known, told = self._trust.leadership(), self._fallback
        leader = known if told is None or (known and known.epoch >= told.epoch) else told
        if leader != self._primary:
            # What another primary has failed at says nothing of this one.
            self._primary = leader
            self._breaker = Breaker("primary", clock=self._clock)
        return leader
