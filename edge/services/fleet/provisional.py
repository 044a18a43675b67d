"""What this edge has accepted and its replica does not hold the outcome of yet, by tenant.

Entries are decoded once per change of the outbox, however many streams ask. Who may see what of
them is decided elsewhere (edge.services.provisional), in the reader's own snapshot.

Invariants
  V1  what the primary has judged stays in the set until the replica may have its outcome (readers
      leave out what theirs has), or LINGER_S have passed; what it has refused goes at once
  V2  a set holds the oldest mutations of the outbox, bounded, and only such as can be judged
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

import msgspec

from edge.services.ingest.prepare import Preparer, problem_of
from edge.services.provisional import Provisionals
from edge.services.standing import Accepted
from sync_protocol import limits
from sync_protocol.media import Media
from sync_protocol.messages.push import Push, WireMutation
from sync_protocol.mutations import decode_mutations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.ids import TenantId
    from core.schema.app import App
    from edge.ports.fleet import OutboxEntry
    from edge.ports.outbox import DurableOutbox
    from edge.ports.stores import Database, Unit
    from edge.services.provisional import Unjudged
    from edge.services.session import DeviceSession
    from sync_protocol.messages.provisional import ProvisionalMutation

    Key = tuple[int, int]

NEWS_S: Final = 0.1
"""Streams are told of changes ten times a second at most: each news is read for every stream."""
LINGER_S: Final = 10.0
"""A replica that is further behind than that is not going to catch up at once: phones see the rows
as they are, and their own writes from their own queues."""
LINGERING_MAX: Final = limits.PROVISIONAL_MUTATIONS_MAX


class ProvisionalSet:
    """One tenant's accepted mutations. `on_changed(tenant)` is told, at most every NEWS_S."""

    def __init__(
        self,
        app: App,
        tenant: TenantId,
        outbox: DurableOutbox,
        *,
        on_changed: Callable[[TenantId], None],
    ) -> None:
        self._tenant = tenant
        self._outbox = outbox
        self._on_changed = on_changed
        self._preparer = Preparer(app)
        self._app = app
        self._provisionals = Provisionals(app)
        self._version = 0
        self._loaded_version = 0
        self._loading = asyncio.Lock()
        self._waiting: dict[Key, Accepted] = {}
        self._lingering: dict[Key, tuple[Accepted, float]] = {}
        self._refused: set[int] = set()
        """Devices of which something was refused since the last load."""
        self._all: tuple[Accepted, ...] = ()
        self._placed: tuple[tuple[object, ...], list[Unjudged]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._told_at = 0.0
        if outbox.count_of(tenant):
            self._version = 1

    def changed(self) -> None:
        """Tell that the outbox has grown, or that the primary has judged some of it."""
        self._version += 1
        self._tell_after(self._told_at + NEWS_S - monotonic())

    def refused(self, device: int) -> None:
        """Tell that a device's mutations will not be judged (V1)."""
        self._refused.add(device)
        self.changed()

    async def accepted(self) -> Sequence[Accepted]:
        """Return what was accepted and may not be in the replica yet, oldest first."""
        if self._loaded_version != self._version:
            async with self._loading:
                if self._loaded_version != self._version:
                    await self._load()
        elif self._lingering and next(iter(self._lingering.values()))[1] <= monotonic():
            self._compose()
        return self._all

    async def of(self, session: DeviceSession, database: Database) -> list[ProvisionalMutation]:
        """Return one device's set: others' changes that its person may read, and no others."""
        accepted = await self.accepted()
        if not accepted:
            return []
        return await database.read(partial(self._visible, session, accepted))

    def close(self) -> None:
        """Tell nobody any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _visible(
        self, session: DeviceSession, accepted: Sequence[Accepted], unit: Unit
    ) -> list[ProvisionalMutation]:
        """Filter for one receiver; what is the same for all is made once per snapshot."""
        members = {
            member.space: member for member in unit.members.of_person(session.principal.person)
        }
        snapshot = (accepted, unit.meta.get("database"), unit.meta.get("sequence"))
        placed = self._placed
        if placed is None or placed[0][0] is not accepted or placed[0][1:] != snapshot[1:]:
            placed = self._placed = (snapshot, self._provisionals.unjudged(accepted, unit))
        return self._provisionals.of_device(session, members, placed[1])

    async def _load(self) -> None:
        version = self._version
        entries = await self._outbox.oldest(
            self._tenant,
            limit=limits.PROVISIONAL_MUTATIONS_MAX,
            bytes_max=limits.PROVISIONAL_BYTES_MAX,
        )
        present: dict[Key, Accepted] = {}
        for entry in entries:
            key = (entry.device, entry.counter)
            known = self._waiting.get(key) or self._decoded(entry)
            if known is not None:
                present[key] = known
        until = monotonic() + LINGER_S
        refused, self._refused = self._refused, set()
        self._lingering = {
            key: kept
            for key, kept in self._lingering.items()
            if key not in present and key[0] not in refused
        }
        gone = [key for key in self._waiting if key not in present and key[0] not in refused]
        self._lingering |= {key: (self._waiting[key], until) for key in gone}
        while len(self._lingering) > LINGERING_MAX:
            del self._lingering[next(iter(self._lingering))]
        self._waiting = present
        self._loaded_version = version
        self._compose()

    def _compose(self) -> None:
        now = monotonic()
        self._lingering = {key: kept for key, kept in self._lingering.items() if kept[1] > now}
        self._all = (*(kept[0] for kept in self._lingering.values()), *self._waiting.values())
        if self._lingering:
            self._tell_after(next(iter(self._lingering.values()))[1] - now)

    def _decoded(self, entry: OutboxEntry) -> Accepted | None:
        """Decode one entry; None for what the primary will quarantine (V2)."""
        push = Push(entry.device, 0, entry.schema_version, [msgspec.Raw(entry.payload)])
        (mutation,) = decode_mutations(push, Media.MSGPACK)
        if not isinstance(mutation, WireMutation):
            return None
        try:
            self._preparer.changes(mutation.changes, schema_version=entry.schema_version)
        except Exception as error:
            if problem_of(error) is None:
                raise
            return None
        return Accepted(entry.device, entry.schema_version, mutation)

    def _tell_after(self, delay_s: float) -> None:
        """Tell once, as soon as that; an earlier appointment stands for this one too."""
        loop = asyncio.get_running_loop()
        at = loop.time() + max(delay_s, 0.002)  # uvloop answers with no timer when due sooner
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = loop.call_at(at, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._told_at = monotonic()
        if self._lingering:
            self._compose()  # and come back when the next of them has to go
        self._on_changed(self._tenant)


class ProvisionalSets:
    """The sets of every tenant of this node."""

    def __init__(
        self, app: App, outbox: DurableOutbox, *, on_changed: Callable[[TenantId], None]
    ) -> None:
        self._app = app
        self._outbox = outbox
        self._on_changed = on_changed
        self._sets: dict[TenantId, ProvisionalSet] = {}

    def of_tenant(self, tenant: TenantId) -> ProvisionalSet:
        """Return a tenant's set, made when it is first asked for."""
        found = self._sets.get(tenant)
        if found is None:
            found = self._sets[tenant] = ProvisionalSet(
                self._app, tenant, self._outbox, on_changed=self._on_changed
            )
        return found

    def changed(self, tenant: TenantId) -> None:
        """Tell that a tenant's outbox has grown or shrunk."""
        self.of_tenant(tenant).changed()

    def refused(self, tenant: TenantId, device: int) -> None:
        """Tell that a device's mutations will not be judged."""
        self.of_tenant(tenant).refused(device)

    def close(self) -> None:
        """Tell nobody any more."""
        for each in self._sets.values():
            each.close()
