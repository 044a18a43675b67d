"""Accepting a push at an edge: everything in it is known already, waits already, or is kept now.

Nothing is judged here. What the replica knows is answered as the primary has answered it; the rest
gets the receipt `accepted`, and lies on this node's disk before that.

Invariants
  A1  an `accepted` receipt is given for what is durable in the outbox, and for nothing else
  A2  a device's counters stay contiguous, from what the replica knows or the outbox holds
  A3  the same counter with another payload is a clone; as far as its push repeats, it is answered.
      Only what the primary has judged tells so: of two copies that each had one accepted, at two
      nodes or at one, the primary decides which keeps the number
  A4  only the primary tells a device twice of the same gap, which makes it a new one: this node may
      just not have heard of what the device has sent elsewhere
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec

from core.clock import measured_skew
from core.ids import TenantId
from edge.errors import ClonedDevice, CounterGap, Unavailable
from edge.ports.fleet import OutboxEntry
from edge.ports.tracing import NO_TRACER
from edge.services.ingest.prepared import PreparedMutation
from edge.services.ingest.repeats import same_prefix, stored_answers
from sync_protocol.media import Media
from sync_protocol.messages.push import Push
from sync_protocol.messages.pushed import Pushed, Receipt
from sync_protocol.mutations import decode_mutations, payload_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.ports.outbox import DurableOutbox
    from edge.ports.stores import Database, Unit
    from edge.ports.tracing import Tracer
    from sync_protocol.messages.push import WireMutation
    from sync_protocol.mutations import Malformed

GAPS_MAX: Final = 10_000
"""Devices whose last gap is remembered."""
GAP_KEPT_MS: Final = 120_000
"""Longer than the longest back-off of a phone that asks again over the same link."""
REPEATED_BYTES: Final = 4 * 1024 * 1024
"""Payloads read at once to compare a repeat with: what one push can hold."""


@dataclass(frozen=True, slots=True)
class _Arrived:
    """One mutation of a push, numbered."""

    counter: int
    payload: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the replica knows of a device, and how much of a push is final there.

    `final` mutations of the push have counters it has judged, the first `same` of them payloads it
    has judged; `runs` and `receipts` answer those, and are of `database`.
    """

    counter: int
    sequence: int
    final: int
    same: int
    database: str
    runs: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])
    receipts: list[Receipt] = field(default_factory=list[Receipt])


class Acceptance:
    """Accepts pushes into an outbox; pushes of one device come one after the other."""

    def __init__(
        self, outbox: DurableOutbox, *, now_ms: Callable[[], int], tracer: Tracer = NO_TRACER
    ) -> None:
        self._outbox = outbox
        self._tracer = tracer
        self._now_ms = now_ms
        self.accepted = 0
        """Mutations accepted since the start."""
        self._gaps: dict[tuple[str, int], tuple[int, int]] = {}
        """By device: what the last gap named, and when it was told (Unix ms)."""

    async def take(self, tenant: str, database: Database, principal: bytes, push: Push) -> Pushed:
        """Keep what is new of a push; return once it is durable.

        Raises CounterGap, ClonedDevice, Overloaded, StorageFull, StorageBusy: nothing is taken.
        """
        device = push.device
        arrived = await self._numbered(tenant, database, push)
        standing = await database.read(partial(_standing, device, arrived))
        if arrived and standing.final and not standing.same:
            raise _cloned(standing.database)
        skew = measured_skew(device_clock=push.clock, now_unix_ms=self._now_ms())
        answer = Pushed(
            standing.counter, standing.sequence, standing.runs, standing.receipts, skew,
            database=standing.database if standing.same else "",
        )  # fmt: skip
        rest = arrived[standing.final :]
        if standing.same < standing.final or not rest:
            return answer
        try:
            kept, fresh = await self._sorted(tenant, device, rest, standing)
        except CounterGap as gap:
            self._tell_once(tenant, device, gap)
            raise
        self._gaps.pop((tenant, device), None)
        entries = [
            OutboxEntry(
                0, TenantId(tenant), device, mutation.counter, push.schema_version,
                push.clock, principal, mutation.payload, self._now_ms(),
            )
            for mutation in fresh
        ]  # fmt: skip
        with self._tracer.span("outbox append", tenant=tenant, mutations=len(fresh)):
            await self._outbox.append(entries)
        self.accepted += len(fresh)
        answer.receipts += [Receipt(mutation.counter, "accepted", 0) for mutation in kept]
        return answer

    def _tell_once(self, tenant: str, device: int, gap: CounterGap) -> None:
        """Raise Unavailable for a gap that was told before (A4)."""
        now_ms, key = self._now_ms(), (tenant, device)
        told = self._gaps.pop(key, None)
        if len(self._gaps) >= GAPS_MAX:
            self._gaps.pop(next(iter(self._gaps)))
        self._gaps[key] = (gap.merged_through, now_ms)
        if told is not None and told[0] == gap.merged_through and now_ms - told[1] < GAP_KEPT_MS:
            raise Unavailable("This node has not heard yet of what the device has sent elsewhere.")

    async def _numbered(self, tenant: str, database: Database, push: Push) -> list[_Arrived]:
        """Number malformed mutations as the primary does: they wait in their place like any."""
        decoded = decode_mutations(push, Media.MSGPACK)
        named = [
            mutation.counter - index
            for index, mutation in enumerate(decoded)
            if mutation.counter is not None
        ]
        if named:
            expected = max(named[0], 1)
        else:
            expected = await self._next(tenant, database, push, decoded) if decoded else 1
        arrived: list[_Arrived] = []
        for raw, mutation in zip(push.mutations, decoded, strict=True):
            counter = expected if mutation.counter is None else mutation.counter
            arrived.append(_Arrived(counter, bytes(raw), payload_hash(mutation)))
            expected = counter + 1
        return arrived

    async def _next(
        self,
        tenant: str,
        database: Database,
        push: Push,
        decoded: Sequence[WireMutation | Malformed],
    ) -> int:
        """Return the first counter of a push that names none: the device's next, or its last."""
        waiting = self._outbox.waiting(tenant, push.device)
        if waiting is not None:
            found = await self._outbox.between(
                tenant, push.device, first=waiting.last, last=waiting.last, bytes_max=1
            )
            is_repeat = bool(found) and found[0].payload == bytes(push.mutations[0])
            return waiting.last if is_repeat else waiting.last + 1
        first = payload_hash(decoded[0])

        def next_of(unit: Unit) -> int:
            record = unit.devices.by_number(push.device)
            if record is None or record.counter == 0:
                return 1
            last = [PreparedMutation(record.counter, 0, 0, first)]
            is_repeat = same_prefix(unit, push.device, last, believe_unknown=False)
            return record.counter if is_repeat else record.counter + 1

        return await database.read(next_of)

    async def _sorted(
        self, tenant: str, device: int, rest: Sequence[_Arrived], standing: _Standing
    ) -> tuple[Sequence[_Arrived], list[_Arrived]]:
        """Return what the outbox holds of a push afterwards, and what of it is new (A2, A3)."""
        first, last = rest[0].counter, rest[-1].counter
        waiting = self._outbox.waiting(tenant, device)
        follows = {standing.counter + 1}
        if waiting is not None:
            follows.add(waiting.last + 1)
        if waiting is None or first > waiting.last:
            if first not in follows:
                is_joined = (
                    waiting is not None
                    and waiting.is_whole
                    and waiting.first <= standing.counter + 1
                )
                known = waiting.last if waiting is not None and is_joined else standing.counter
                raise _gap(known, standing.database)
            return rest, list(rest)
        stored = await self._stored(tenant, device, first=first - 1, last=last)
        if first not in follows and first not in stored and first - 1 not in stored:
            raise _gap(standing.counter, standing.database)
        fresh: list[_Arrived] = []
        for index, mutation in enumerate(rest):
            kept = stored.get(mutation.counter)
            if kept is None:
                fresh.append(mutation)
            elif kept != mutation.hash:
                if fresh or (index == 0 and not standing.same):
                    raise Unavailable("Another copy of the device has sent something else here.")
                return rest[:index], []
        return rest, fresh

    async def _stored(self, tenant: str, device: int, *, first: int, last: int) -> dict[int, bytes]:
        """Return the payload hashes of what waits among some counters."""
        hashes: dict[int, bytes] = {}
        while first <= last:
            part = await self._outbox.between(
                tenant, device, first=first, last=last, bytes_max=REPEATED_BYTES
            )
            if not part:
                break
            hashes.update((entry.counter, _hash_of(entry)) for entry in part)
            first = part[-1].counter + 1
        return hashes


def _standing(device: int, arrived: Sequence[_Arrived], unit: Unit) -> _Standing:
    record = unit.devices.by_number(device)
    counter, sequence = 0 if record is None else record.counter, unit.meta.get("sequence")
    database = unit.meta.get("database")
    for before, mutation in pairwise(arrived):
        if mutation.counter != before.counter + 1:
            raise _gap(counter, database)
    final = [PreparedMutation(m.counter, 0, 0, m.hash) for m in arrived if m.counter <= counter]
    same = same_prefix(unit, device, final) if final else 0
    if not same:
        return _Standing(counter, sequence, len(final), 0, database)
    answers = stored_answers(unit, device, final[0].counter, final[same - 1].counter)
    return _Standing(counter, sequence, len(final), same, database, *answers)


def _hash_of(entry: OutboxEntry) -> bytes:
    push = Push(entry.device, 0, entry.schema_version, [msgspec.Raw(entry.payload)])
    return payload_hash(decode_mutations(push, Media.MSGPACK)[0])


def _gap(merged_through: int, database: str) -> CounterGap:
    return CounterGap(
        f"Mutations are missing: the server has {merged_through}.",
        merged_through=merged_through,
        database=database,
    )


def _cloned(database: str) -> ClonedDevice:
    return ClonedDevice(
        "This device number is used by another copy of the device.", database=database
    )
