"""Draining the outbox: what this edge has accepted goes to the primary, device by device.

A batch that is relayed twice (this process was killed before it had settled) changes nothing: the
primary recognises (device, counter).

Invariants
  D1  an entry is dropped only after the primary has answered it, or moved aside when it is refused
  D2  batches of one device go one after the other, in counter order
  D3  no device waits for another one's failure; while the primary is away, one batch asks for all
  D4  times are rebased by how far the device's clock was off when it sent them, not by how long
      they have waited here
  D5  a gap that nobody fills ends: what lies behind it is moved aside, and the phone, which has
      kept it, is told
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from core.clock import CLOCK_MAX, COUNTER_BITS, SKEW_TOLERANCE_MS, saturated
from core.ids import TenantId
from edge.errors import EdgeError
from edge.ports.tracing import NO_TRACER
from sync_protocol.faults import FaultKind
from sync_protocol.session.backoff import backoff_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.ports.fleet import OutboxEntry
    from edge.ports.outbox import DurableOutbox
    from edge.ports.tracing import Tracer
    from sync_protocol.messages.pushed import Pushed

    Key = tuple[str, int]

DEVICES_AT_ONCE: Final = 32
"""Batches under way: they share the primary's commits, small ones too."""
BATCH_MUTATIONS_MAX: Final = 2_000
"""Enough that a call costs little beside what it carries."""
BATCH_BYTES_MAX: Final = 1024 * 1024
"""With DEVICES_AT_ONCE, 32 MiB under way; a message may be four times as long."""
PARKED_S: Final = 30.0
"""A device that cannot go on is asked about twice a minute: its phone has to act meanwhile."""
GAPS_MAX: Final = 4
"""Answers that a device's counters have a gap, two minutes of them: only a primary that was set
back says so, and a phone that cannot fill the gap must hear of it to become another one."""
HEADS_MAX: Final = 512
"""Devices looked up at once; each is served one batch before the next look."""
IDLE_S: Final = 1.0
"""The longest wait for news: parked devices come back then."""
DELAY_MS_MIN: Final = 50
DELAY_MS_MAX: Final = 5_000
"""A primary that is back is noticed within five seconds, by one batch."""
_ENDED: Final = frozenset(
    {
        FaultKind.CLONED_DEVICE,
        FaultKind.UNKNOWN_DEVICE,
        FaultKind.FORBIDDEN,
        FaultKind.UNAUTHENTICATED,
        FaultKind.UNKNOWN_TENANT,
        FaultKind.WRONG_APP,
        FaultKind.SCHEMA_TOO_OLD,
    }
)
"""Refusals that the same entries meet again whenever they are sent."""
_PARKED: Final = frozenset({FaultKind.COUNTER_GAP, FaultKind.SCHEMA_AHEAD})
"""The phone sends what is missing, or the primary is upgraded: the entries stay."""
_TOLERANCE: Final = SKEW_TOLERANCE_MS << COUNTER_BITS
_log = structlog.stdlib.get_logger(__name__)


class Judging(Protocol):
    """What the drain needs of the link to the primary."""

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open: calls would fail at once."""
        ...

    async def relay(self, entries: Sequence[OutboxEntry]) -> Pushed:
        """Have the primary judge entries of one device, person and schema version, in order.

        Raises Unavailable when it does not answer; what it refuses comes as the error it names.
        """
        ...


@dataclass(slots=True)
class DrainCounts:
    """Mutations and batches since the start."""

    drained: int = 0
    refused: int = 0
    batches: int = 0
    failures: int = 0


class Drain:
    """Empties an outbox for as long as it runs.

    `on_settled(tenant)` is told of what the primary has judged, `on_refused(tenant, device)` of
    what it will not judge.
    """

    def __init__(
        self,
        outbox: DurableOutbox,
        primary: Judging,
        *,
        now_ms: Callable[[], int],
        on_settled: Callable[[TenantId], None],
        on_refused: Callable[[TenantId, int], None],
        jitter: Callable[[], float] = random.random,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._outbox = outbox
        self._primary = primary
        self._now_ms = now_ms
        self._on_settled = on_settled
        self._on_refused = on_refused
        self._jitter = jitter
        self._tracer = tracer
        self._wake = asyncio.Event()
        self._heads: deque[Key] = deque()
        self._busy: set[Key] = set()
        self._parked: dict[Key, float] = {}
        self._gaps: dict[Key, int] = {}
        self._failures = 0
        """Batches in a row that the primary has not answered."""
        self._not_before = 0.0
        self._workers: list[asyncio.Task[None]] = []
        self.counts = DrainCounts()

    @property
    def parked(self) -> int:
        """How many devices wait for their phone, or for an upgrade."""
        return len(self._parked)

    def start(self) -> None:
        """Start on the running loop."""
        self._workers = [
            asyncio.create_task(self._work(), name=f"drain-{number}")
            for number in range(DEVICES_AT_ONCE)
        ]

    def wake(self) -> None:
        """Tell that something was accepted, or that the primary has answered."""
        self._wake.set()

    async def close(self) -> None:
        """Stop; what is under way is recognised as a repeat next time."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers.clear()

    async def _work(self) -> None:
        while True:
            try:
                key = await self._next()
            except Exception as error:  # noqa: BLE001  (the disk, for one: later it may do again)
                _log.error("drain-postponed", exc_info=error)
                await asyncio.sleep(IDLE_S)
                continue
            self._busy.add(key)
            try:
                await self._relay(key)
            except Exception as error:  # noqa: BLE001  (a device's failure is its own, D3)
                _log.error("drain-failed", tenant=key[0], device=key[1], exc_info=error)
                self._park(key)
            finally:
                self._busy.discard(key)

    async def _next(self) -> Key:
        """Wait for a device to serve: the oldest that is neither busy nor parked."""
        while True:
            self._wake.clear()
            wait_s = self._wait_s()
            if wait_s == 0 and not (self._failures and self._busy):
                key = await self._pick()
                if key is not None:
                    return key
                wait_s = IDLE_S
            try:
                async with asyncio.timeout(wait_s or IDLE_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            else:
                # New entries are no reason to ask an absent primary sooner.
                await asyncio.sleep(self._wait_s())

    def _wait_s(self) -> float:
        if self._primary.is_open:
            return DELAY_MS_MAX / 1000 / DEVICES_AT_ONCE
        return max(0.0, self._not_before - monotonic())

    async def _pick(self) -> Key | None:
        now = monotonic()
        for key in [key for key, until in self._parked.items() if until <= now]:
            del self._parked[key]
        for is_second_look in (False, True):
            if is_second_look:
                limit = HEADS_MAX + len(self._parked) + len(self._busy)
                self._heads.extend(await self._outbox.heads(limit=limit))
            while self._heads:
                key = self._heads.popleft()
                if key in self._busy or key in self._parked:
                    continue
                if self._outbox.waiting(*key) is not None:
                    self._busy.add(key)
                    if self._heads:
                        self._wake.set()  # there is work for the others
                    return key
        return None

    async def _relay(self, key: Key) -> None:
        entries = await self._outbox.batch(
            *key, mutations_max=BATCH_MUTATIONS_MAX, bytes_max=BATCH_BYTES_MAX
        )
        if not entries:
            return
        entries = _as_of_now(entries, now_ms=self._now_ms())
        try:
            with self._tracer.span("drain batch", tenant=key[0], mutations=len(entries)):
                pushed = await self._primary.relay(entries)
            self._failures = 0
            through = min(_answered_through(pushed), entries[-1].counter)
            if through < entries[0].counter:
                self._park(key)  # an answer without receipts: asking at once would not end
                return
            await self._outbox.settle(*key, through)
        except EdgeError as error:
            await self._failed(key, error)
            return
        self.counts.batches += 1
        self.counts.drained += through - entries[0].counter + 1
        self._on_settled(entries[0].tenant)
        self._gaps.pop(key, None)
        self._wake.set()

    async def _failed(self, key: Key, error: EdgeError) -> None:
        """Put aside, park, or wait: by what the primary, or the disk, has said."""
        self.counts.failures += 1
        if error.fault in _PARKED and not self._is_hopeless(key, error):
            self._failures = 0
            self._park(key)
            _log.warning("outbox-parked", tenant=key[0], device=key[1], fault=str(error.fault))
        elif error.fault in _ENDED or error.fault in _PARKED:
            self._failures = 0
            await self._refuse(key, error)
        elif error.is_retryable:
            if monotonic() < self._not_before:
                return  # one of those that were under way together; it is counted already
            delay_ms = backoff_ms(self._failures, self._jitter())
            delay_ms = min(max(delay_ms, DELAY_MS_MIN), DELAY_MS_MAX)
            self._failures += 1
            self._not_before = monotonic() + delay_ms / 1000
        else:
            self._park(key)
            _log.error("outbox-not-taken", tenant=key[0], device=key[1], fault=str(error.fault))

    def _is_hopeless(self, key: Key, error: EdgeError) -> bool:
        """Count how often a device was said to have a gap; tell whether that is enough (D5)."""
        if error.fault is not FaultKind.COUNTER_GAP:
            return False
        count = self._gaps.pop(key, 0) + 1
        if count >= GAPS_MAX:
            return True
        self._gaps[key] = count
        return False

    async def _refuse(self, key: Key, error: EdgeError) -> None:
        waiting = self._outbox.waiting(*key)
        if waiting is None:
            return
        count = await self._outbox.refuse(
            *key, waiting.last, reason=str(error.fault), now_ms=self._now_ms()
        )
        self.counts.refused += count
        _log.warning(
            "outbox-refused",
            tenant=key[0],
            device=key[1],
            mutations=count,
            through=waiting.last,
            fault=str(error.fault),
        )
        self._on_refused(TenantId(key[0]), key[1])

    def _park(self, key: Key) -> None:
        self._parked[key] = monotonic() + PARKED_S


def _as_of_now(entries: Sequence[OutboxEntry], *, now_ms: int) -> list[OutboxEntry]:
    """Return the first entries whose author's clock was equally far off, as if sent now (D4)."""
    first = entries[0]
    off = first.clock - saturated(first.accepted_ms)
    count = next(
        (
            index
            for index, entry in enumerate(entries)
            if abs(entry.clock - saturated(entry.accepted_ms) - off) > _TOLERANCE
        ),
        len(entries),
    )
    clock = min(max(saturated(now_ms) + off, 0), CLOCK_MAX)
    return [*entries[: count - 1], replace(entries[count - 1], clock=clock)]


def _answered_through(pushed: Pushed) -> int:
    """Return the last counter that has a final answer."""
    runs = [last for _, last, _ in pushed.merged]
    final = [receipt.counter for receipt in pushed.receipts if receipt.outcome != "accepted"]
    return max([*runs, *final], default=0)
