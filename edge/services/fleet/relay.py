"""An edge's way of writes: to the primary while it answers, else into the outbox.

Invariants
  R1  a device with mutations in the outbox is not relayed past them: order is per device
  R2  only what a device of this person sends is accepted, for a tenant this node has a replica of
  R3  a caller that goes away changes nothing: its push is finished before the device's next one
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar
from weakref import WeakValueDictionary

from edge.errors import Unavailable, UnknownDevice
from edge.ports.tracing import NO_TRACER
from edge.services.fleet.acceptance import Acceptance
from edge.services.fleet.models import principal_to_json
from edge.services.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from core.ids import TenantId
    from edge.ports.outbox import DurableOutbox
    from edge.ports.tracing import Tracer
    from edge.services.node import Node, Tenant
    from edge.services.session import Principal
    from sync_protocol.messages.hello import Hello
    from sync_protocol.messages.push import Push
    from sync_protocol.messages.pushed import Pushed
    from sync_protocol.messages.welcome import Welcome

T = TypeVar("T")
AWAY_POLL_S: Final = 0.25
"""Between two looks at whether the primary still answers reports while it owes an answer."""


@dataclass(slots=True)
class RelayCounts:
    """What became of pushes and hellos since the start."""

    relayed: int = 0
    """Pushes that the primary has answered, or refused."""
    postponed: int = 0
    """Pushes that went to the outbox."""
    greeted: int = 0
    """Devices that were greeted without the primary."""


class Primary(Upstream, Protocol):
    """The way to the primary, for devices' messages and for phones' other requests."""

    async def request(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Forward a phone's request; return status, headers and body, or raise Unavailable."""
        ...


class Relay:
    """The Upstream of an edge. `on_accepted(tenant)` is told when its outbox has grown."""

    def __init__(
        self,
        node: Node,
        primary: Primary,
        outbox: DurableOutbox,
        *,
        now_ms: Callable[[], int],
        on_accepted: Callable[[TenantId], None],
        is_away: Callable[[], bool] = lambda: False,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._node = node
        self._primary = primary
        self._outbox = outbox
        self._acceptance = Acceptance(outbox, now_ms=now_ms, tracer=tracer)
        self._on_accepted = on_accepted
        self._is_away = is_away
        self._turns: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()
        self.counts = RelayCounts()

    @property
    def accepted(self) -> int:
        """How many mutations were accepted since the start."""
        return self._acceptance.accepted

    async def request(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Forward a phone's request, but do not wait for a primary that has gone silent."""
        return await self._unless_away(self._primary.request(method, target, headers, body))

    async def hello(self, principal: Principal, token: str, hello: Hello) -> Welcome:
        """Introduce a device at the primary; without it, here, if the replica knows the device.

        `merged_through` stays the replica's: what this outbox holds is sent again, and recognised.
        """
        tenant = await self._node.tenant(principal.tenant)
        try:
            welcome = await self._unless_away(self._primary.hello(principal, token, hello))
        except Unavailable:
            welcome = await tenant.devices.greet_locally(principal, hello)
            self.counts.greeted += 1
        else:
            # Its pushes are accepted from here on, though the replica may not have it yet.
            tenant.devices.remember(welcome.device, principal.person)
        return welcome

    async def push(self, principal: Principal, token: str, push: Push) -> Pushed:
        """Have the primary judge a push, or accept it; whatever the primary refuses is passed on.

        Raises Overloaded or StorageFull when it can be neither judged nor kept.
        """
        tenant = await self._node.tenant(principal.tenant)
        try:
            await tenant.devices.session(principal, push.device, push.schema_version)
        except (UnknownDevice, Unavailable):
            # It may have registered a moment ago: the primary knows. Nothing is accepted (R2).
            answer = await self._unless_away(self._primary.push(principal, token, push))
            self.counts.relayed += 1
            return answer
        work = asyncio.ensure_future(self._in_turn(tenant, principal, token, push))
        return await asyncio.shield(work)

    async def _in_turn(
        self, tenant: Tenant, principal: Principal, token: str, push: Push
    ) -> Pushed:
        key = (tenant.id, push.device)
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = asyncio.Lock()
        async with turn:
            if self._outbox.waiting(*key) is not None:
                return await self._accept(tenant, principal, push)
            try:
                answer = await self._unless_away(self._primary.push(principal, token, push))
            except Unavailable:
                return await self._accept(tenant, principal, push)
            self.counts.relayed += 1
            return answer

    async def _unless_away(self, call: Coroutine[None, None, T]) -> T:
        """Wait for the primary's answer, but not when it has gone silent meanwhile.

        A call that is given up may have arrived: what it carries is recognised as a repeat.
        """
        if self._is_away():
            call.close()
            raise Unavailable("The primary is away.")
        answer = asyncio.ensure_future(call)
        try:
            while not answer.done():
                await asyncio.wait({answer}, timeout=AWAY_POLL_S)
                if not answer.done() and self._is_away():
                    raise Unavailable("The primary has gone silent.")
            return answer.result()
        finally:
            answer.cancel()

    async def _accept(self, tenant: Tenant, principal: Principal, push: Push) -> Pushed:
        before = self._acceptance.accepted
        answer = await self._acceptance.take(
            tenant.id, tenant.database, principal_to_json(principal), push
        )
        self.counts.postponed += 1
        if self._acceptance.accepted != before:
            self._on_accepted(tenant.id)
        return answer
