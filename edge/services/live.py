"""Live streams: one tailer per tenant turns commits into pokes.

A poke carries the changed rows of the stream's own spaces, encoded once per space however many
streams receive it. A stream that was not exactly at the poke's start, an app with an older schema,
and a large commit get a poke without data, and pull.

Invariants
  L1  a poke never holds a row of a space the person was not in at the poke's snapshot
  L2  pokes of one stream are contiguous: each starts where the one before ended, or says `pull`
  L3  a slow stream costs a bounded queue: it loses pokes, never data
  L4  a stream is told a provisional set together with the rows that take its place, and one set at
      most waits to be sent beside pokes
  L5  no stream outlives the database it was subscribed to
  L6  streams are told in the order in which they subscribed: one seed of a simulation, one order
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from edge.errors import EdgeError, Overloaded
from edge.services.access import ReadAccess
from edge.services.provisional import Provisionals
from edge.services.space_rows import to_space_rows
from edge.services.standing import STANDALONE
from sync_protocol import limits
from sync_protocol.digest import to_bytes
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.schema.app import App
    from edge.ports.records import FeedRow, MemberRecord
    from edge.ports.stores import Database, Unit
    from edge.services.provisional import Unjudged
    from edge.services.session import DeviceSession
    from edge.services.standing import Accepted, Standing

POKE_ROWS_MAX: Final = 2_000
"""A larger commit is cheaper to pull, page by page, than to push to everybody at once."""
STREAMS_MAX: Final = 10_000
"""Streams per tenant and process."""
RETRY_DELAY_S: Final = 0.25
_encode = msgspec.msgpack.Encoder().encode


Told = Poke | Provisional


class Subscription:
    """One stream's news: an async iterator of Poke and Provisional, bounded."""

    def __init__(self, live: Live, session: DeviceSession, since: int) -> None:
        self._live = live
        self._queue: deque[Told] = deque()
        self._arrived = asyncio.Event()
        self._is_closed = False
        self.session = session
        self.position = since
        """The device's cursor, as far as pokes have told it."""
        self.checked = since
        """Up to here the device has missed nothing, poked or not concerned."""
        self.counter = 0
        self.wrote = since
        """The device has written nothing after this sequence, as far as the tailer has read."""
        self.replicated = 0
        """What the device was last told to be replicated."""
        self.provisional: bytes | None = None
        """The set it was told last, encoded; None: the pages have told it, whatever it was."""
        self.members: dict[str, MemberRecord] = {}

    def offer(self, poke: Poke) -> None:
        """Queue a poke; a full queue is replaced by one poke without data (L3)."""
        if len(self._queue) >= limits.STREAM_QUEUE_FRAMES_MAX:
            waiting = [told for told in self._queue if isinstance(told, Poke)]
            self._live.forgotten_pokes += len(waiting)
            self._queue.clear()
            poke = Poke(waiting[0].since, poke.sequence, pull=True)
        self._queue.append(poke)
        self.replicated = max(self.replicated, poke.replicated)
        self._arrived.set()

    def offer_replicated(self, replicated: int) -> None:
        """Queue the news that commits are replicated; only the last of several waits."""
        poke = Poke(self.position, self.position, replicated=replicated)
        last = self._queue[-1] if self._queue else None
        if isinstance(last, Poke) and last.is_news and last.provisional is None:
            self._queue.pop()
        self.offer(poke)

    def offer_provisional(self, message: Provisional) -> None:
        """Queue a set in place of one that waits (L4)."""
        self._queue = deque(told for told in self._queue if isinstance(told, Poke))
        self._queue.append(message)
        self._arrived.set()

    def close(self) -> None:
        """End the subscription; the iterator stops."""
        self._is_closed = True
        self._arrived.set()
        self._live.drop(self)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Told:
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
    database: str = ""
    replicated: int = 0
    unjudged: list[Unjudged] | None = None
    """What is provisional; None on a node that never accepts anything for another."""


class Live:
    """One tenant's streams on this process."""

    def __init__(self, app: App, database: Database, *, standing: Standing = STANDALONE) -> None:
        self._app = app
        self._database = database
        self._standing = standing
        self._access = ReadAccess(app)
        self._provisionals = Provisionals(app)
        self._following = ""
        """The id of the database that a replica's streams were subscribed to (L5)."""
        self._streams: dict[Subscription, None] = {}
        """In the order in which they subscribed, which is the order they are told in (L6)."""
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

    def replicated_moved(self) -> None:
        """Tell the devices that have written something since they were told what is replicated."""
        replicated = self._standing.replicated(self._position)
        for stream in self._streams:
            if stream.replicated < min(stream.wrote, replicated):
                stream.offer_replicated(replicated)

    def provisional_changed(self) -> None:
        """Have the tailer tell every stream its set of provisional mutations, if it is new."""
        self.notify()

    async def subscribe(self, session: DeviceSession, since: int) -> Subscription:
        """Start a stream at a device's cursor; raises Overloaded beyond STREAMS_MAX."""
        if len(self._streams) >= STREAMS_MAX:
            raise Overloaded("Too many streams are open.")
        stream = Subscription(self, session, since)
        now = await self._introduce(stream)
        if not self._streams:
            self._position = now
            self._following = ""
        if since < self._position:
            stream.offer(Poke(since, self._position, pull=True))
            stream.position = stream.checked = self._position
        else:
            stream.position = stream.checked = min(since, now)
        stream.wrote = now
        self._streams[stream] = None
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
        self._streams.pop(stream, None)

    async def _tail(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._streams:
                continue
            try:
                # Before the snapshot, which leaves out what it has the outcome of.
                accepted = await self._standing.accepted()
                batch = await self._database.read(
                    partial(self._read, list(self._streams), accepted)
                )
            except EdgeError:
                await asyncio.sleep(RETRY_DELAY_S)
                self._wake.set()
                continue
            batch.replicated = self._standing.replicated(batch.sequence)
            if self._standing.is_replica and batch.database != self._following:
                self._follow(batch)
            self._fan_out(batch)
            await asyncio.sleep(0)

    def _follow(self, batch: _Batch) -> None:
        """Follow another database: its sequences mean something else (L5)."""
        was_following, self._following = self._following, batch.database
        if was_following:
            self._position = batch.sequence
            for stream in list(self._streams):
                stream.close()

    def _read(
        self, streams: list[Subscription], accepted: Sequence[Accepted], unit: Unit
    ) -> _Batch:
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
            unit.meta.get("database") if self._standing.is_replica else "",
            0,
            self._provisionals.unjudged(accepted, unit) if self._standing.is_replica else None,
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
                self._note_counter(stream, batch)
                self._tell_provisional(stream, batch, None)
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
                self._tell_provisional(stream, batch, None)
                if is_own_news and batch.unjudged is not None:
                    # What was accepted here has been refused: no row tells of it.
                    self._note_counter(stream, batch)
                    stream.offer(Poke(stream.position, stream.position, merged_through=counter))
                continue
            self._note_counter(stream, batch)
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
            stream.offer(self._tell_provisional(stream, batch, poke) or poke)
            stream.position = batch.sequence

    @staticmethod
    def _note_counter(stream: Subscription, batch: _Batch) -> None:
        counter = batch.counters.get(stream.session.device, 0)
        if counter > stream.counter:
            stream.counter, stream.wrote = counter, batch.sequence

    def _tell_provisional(
        self, stream: Subscription, batch: _Batch, poke: Poke | None
    ) -> Poke | None:
        """Tell a stream its set if it is new: in the poke this returns, or by itself (L4)."""
        if batch.unjudged is None:
            return None
        shown = self._provisionals.of_device(stream.session, stream.members, batch.unjudged)
        encoded = _encode(shown)
        if encoded == stream.provisional:
            return None
        stream.provisional = encoded
        if poke is None or poke.pull:
            stream.offer_provisional(Provisional(shown))
            return None
        return msgspec.structs.replace(poke, provisional=shown)

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
            return Poke(since, batch.sequence, pull=True, replicated=batch.replicated)
        poke = Poke(since, batch.sequence, spaces=[], digests={}, replicated=batch.replicated)
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
