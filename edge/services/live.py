"""Live streams: one tailer per tenant turns commits into pokes.

A poke carries the changed rows of the stream's own spaces, encoded once per space however many
streams receive it. A stream that was not exactly at the poke's start, an app with an older schema,
and a large commit get a poke without data, and pull.

Invariants
  L1  a poke never holds a row of a space the person was not in at the poke's snapshot
  L2  pokes of one stream are contiguous: each starts where the one before ended, or says `pull`
  L3  a slow stream costs a bounded queue: it loses pokes, never data
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from edge.errors import EdgeError, Overloaded
from edge.services.access import ReadAccess
from edge.services.space_rows import to_space_rows
from sync_protocol import limits
from sync_protocol.digest import to_bytes
from sync_protocol.messages.poke import Poke

if TYPE_CHECKING:
    import msgspec

    from core.schema.app import App
    from edge.ports.records import FeedRow, MemberRecord
    from edge.ports.stores import Database, Unit
    from edge.services.session import DeviceSession

POKE_ROWS_MAX: Final = 2_000
"""A larger commit is cheaper to pull, page by page, than to push to everybody at once."""
STREAMS_MAX: Final = 10_000
"""Streams per tenant and process."""
RETRY_DELAY_S: Final = 0.25


class Subscription:
    """One stream's pokes: an async iterator of Poke, bounded."""

    def __init__(self, live: Live, session: DeviceSession, since: int) -> None:
        self._live = live
        self._queue: deque[Poke] = deque()
        self._arrived = asyncio.Event()
        self._is_closed = False
        self.session = session
        self.position = since
        """The device's cursor, as far as pokes have told it."""
        self.checked = since
        """Up to here the device has missed nothing, poked or not concerned."""
        self.counter = 0
        self.members: dict[str, MemberRecord] = {}

    def offer(self, poke: Poke) -> None:
        """Queue a poke; a full queue is replaced by one poke without data (L3)."""
        if len(self._queue) >= limits.STREAM_QUEUE_FRAMES_MAX:
            self._live.forgotten_pokes += len(self._queue)
            first = self._queue[0].since
            self._queue.clear()
            poke = Poke(first, poke.sequence, pull=True)
        self._queue.append(poke)
        self._arrived.set()

    def close(self) -> None:
        """End the subscription; the iterator stops."""
        self._is_closed = True
        self._arrived.set()
        self._live.drop(self)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Poke:
        while not self._queue:
            if self._is_closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._queue.popleft()


@dataclass(slots=True)
class _Batch:
    """What one tick found, in one snapshot."""

    sequence: int
    rows: list[FeedRow] | None
    digests: dict[str, dict[str, int]]
    counters: dict[int, int]
    moved_people: set[str]
    memberships: dict[str, list[MemberRecord]] = field(
        default_factory=dict[str, "list[MemberRecord]"]
    )
    heads: dict[str, int] = field(default_factory=dict[str, int])


class Live:
    """One tenant's streams on this process."""

    def __init__(self, app: App, database: Database) -> None:
        self._app = app
        self._database = database
        self._access = ReadAccess(app)
        self._streams: set[Subscription] = set()
        self._wake = asyncio.Event()
        self._position = 0
        self._task: asyncio.Task[None] | None = None
        self.forgotten_pokes = 0

    @property
    def stream_count(self) -> int:
        """How many streams are subscribed."""
        return len(self._streams)

    def start(self) -> None:
        """Start the tailer on the running loop."""
        self._task = asyncio.create_task(self._tail(), name="live")

    async def close(self) -> None:
        """Stop the tailer and end every stream."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for stream in list(self._streams):
            stream.close()

    def notify(self) -> None:
        """Tell the tailer that something was committed."""
        if self._streams:
            self._wake.set()

    async def subscribe(self, session: DeviceSession, since: int) -> Subscription:
        """Start a stream at a device's cursor; raises Overloaded beyond STREAMS_MAX."""
        if len(self._streams) >= STREAMS_MAX:
            raise Overloaded("Too many streams are open.")
        stream = Subscription(self, session, since)
        now = await self._introduce(stream)
        if not self._streams:
            self._position = now
        if since < self._position:
            stream.offer(Poke(since, self._position, pull=True))
            stream.position = stream.checked = self._position
        else:
            stream.position = stream.checked = min(since, now)
        self._streams.add(stream)
        self._wake.set()
        return stream

    async def _introduce(self, stream: Subscription) -> int:
        """Read what the stream may see; return the snapshot's sequence.

        Read again when the tailer has gone on meanwhile: a membership that was removed in a batch
        this stream was not part of must not come back with it (L1).
        """
        person, device = stream.session.principal.person, stream.session.device
        while True:
            position = self._position
            members, counters, now = await self._database.read(
                lambda unit: (
                    unit.members.of_person(person),
                    unit.devices.counters([device]),
                    unit.meta.get("sequence"),
                )
            )
            if position == self._position:
                stream.members = {member.space: member for member in members}
                stream.counter = counters.get(device, 0)
                return now

    def expel(self, person: str) -> None:
        """End every stream of one person: who is erased reads nothing more (L1)."""
        for stream in list(self._streams):
            if stream.session.principal.person == person:
                stream.close()

    def drop(self, stream: Subscription) -> None:
        """Forget a stream."""
        self._streams.discard(stream)

    async def _tail(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._streams:
                continue
            try:
                batch = await self._database.read(partial(self._read, list(self._streams)))
            except EdgeError:
                await asyncio.sleep(RETRY_DELAY_S)
                self._wake.set()
                continue
            self._fan_out(batch)
            await asyncio.sleep(0)

    def _read(self, streams: list[Subscription], unit: Unit) -> _Batch:
        """Read everything after the tailer's position that any stream here may need."""
        now = unit.meta.get("sequence")
        since = self._position
        heads = unit.members.heads(after=since)
        watched = {space for stream in streams for space in stream.members} & heads.keys()
        rows: list[FeedRow] | None = []
        if watched:
            wanted = dict.fromkeys(self._app.collections, sorted(watched))
            rows = unit.rows.feed(wanted, after=since, until=now, rows_max=POKE_ROWS_MAX + 1)
            if len(rows) > POKE_ROWS_MAX:
                rows = None
        people = {stream.session.principal.person for stream in streams}
        moved = unit.members.changed_people(after=since) & people
        return _Batch(
            now,
            rows,
            unit.digests.spaces(sorted(watched)),
            unit.devices.counters([stream.session.device for stream in streams]),
            moved,
            {person: unit.members.of_person(person) for person in moved},
            {space: heads[space] for space in watched},
        )

    def _fan_out(self, batch: _Batch) -> None:
        since, self._position = self._position, batch.sequence
        rows = batch.rows or []
        by_space: dict[str, list[FeedRow]] = {}
        for row in rows:
            by_space.setdefault(row.space, []).append(row)
        chunks: dict[tuple[str, tuple[str, ...]], tuple[msgspec.Raw, bytes]] = {}
        pokes: dict[tuple[object, ...], Poke] = {}
        for stream in list(self._streams):
            person = stream.session.principal.person
            if person in batch.moved_people:
                stream.members = {m.space: m for m in batch.memberships[person]}
                stream.offer(Poke(stream.position, batch.sequence, pull=True))
                stream.position = stream.checked = batch.sequence
                continue
            touched = [
                (space, self._access.collections(stream.members[space]))
                for space in (by_space if batch.rows is not None else batch.heads)
                if space in stream.members
            ]
            counter = batch.counters.get(stream.session.device, 0)
            is_own_news = counter > stream.counter
            missed, stream.checked = stream.checked < since, batch.sequence
            if (not touched and not is_own_news) or stream.position >= batch.sequence:
                continue
            stream.counter = counter
            must_pull = (
                batch.rows is None or missed or stream.session.schema_version < self._app.version
            )
            key = (stream.position, must_pull, tuple(touched), counter if is_own_news else 0)
            poke = pokes.get(key)
            if poke is None:
                poke = pokes[key] = self._poke(
                    stream.position, batch, touched, by_space, chunks, must_pull=must_pull
                )
                poke.merged_through = counter if is_own_news else 0
            stream.offer(poke)
            stream.position = batch.sequence

    def _poke(
        self,
        since: int,
        batch: _Batch,
        touched: list[tuple[str, tuple[str, ...]]],
        by_space: dict[str, list[FeedRow]],
        chunks: dict[tuple[str, tuple[str, ...]], tuple[msgspec.Raw, bytes]],
        *,
        must_pull: bool,
    ) -> Poke:
        if must_pull:
            return Poke(since, batch.sequence, pull=True)
        poke = Poke(since, batch.sequence, spaces=[], digests={})
        for space, collections in touched:
            chunk = chunks.get((space, collections))
            if chunk is None:
                readable = [row for row in by_space[space] if row.collection in collections]
                encoded = to_space_rows(readable, self._app, schema_version=self._app.version)
                sums = batch.digests.get(space, {})
                digest = to_bytes(sum(sums.get(name, 0) for name in collections))
                if space not in encoded:
                    continue
                chunk = chunks[(space, collections)] = (encoded[space], digest)
            poke.spaces.append(chunk[0])
            poke.digests[space] = chunk[1]
        return poke
