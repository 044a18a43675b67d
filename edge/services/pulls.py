"""Pulls: what a device has not read yet, a page at a time, with a checkpoint at the end.

A round scans the tenant's sequence once: rows of spaces the person was in already from the cursor
on, rows of spaces gained since from zero. Pages of a round are read in different snapshots; the
last one reaches the sequence of its own snapshot, so the device then equals the server there.

Invariants
  P1  no row of a space is sent to a person who is not in it at that page's snapshot
  P2  a page with a checkpoint leaves nothing at or before its sequence unsent
  P3  receipts, rows and the provisional set of one page come from one snapshot
  P4  a replica that is behind a cursor says so and nothing else: nobody is reset, settled or
      verified by what it has not read. A cursor of a database that it has not heard of is one
      ahead of it, unless the primary says that it has followed to the present database
  P5  a device acknowledges nothing while it waits for the outcome of what it has sent: a tombstone
      that is collected before would refuse what was written before anybody had seen it
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from edge.errors import CursorUnknown, NotFound
from edge.ports.tracing import NO_TRACER
from edge.services.access import ReadAccess
from edge.services.ingest.repeats import stored_answers, stored_hashes
from edge.services.lineage import adopted, furthest
from edge.services.provisional import Provisionals
from edge.services.space_rows import to_space_rows
from edge.services.standing import STANDALONE
from sync_protocol import limits
from sync_protocol.digest import bucket_of, from_bytes, to_bytes
from sync_protocol.messages.cursor import Backfill, Cursor
from sync_protocol.messages.page import Checkpoint, Gained, Page
from sync_protocol.messages.repaired import DamagedBucket, Repaired
from sync_protocol.space_rows import encode_space_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.schema.app import App
    from edge.ports.records import FeedRow, MemberRecord
    from edge.ports.stores import Database, Unit
    from edge.ports.tracing import Tracer
    from edge.services.session import DeviceSession
    from edge.services.standing import Accepted, Standing
    from sync_protocol.messages.pull import Pull
    from sync_protocol.messages.repair import Repair

CONFIRM_MAX: Final = 5_000
"""Receipts that one page repeats; a device with more unconfirmed mutations pulls again."""


class _UnknownHere(Exception):
    """A cursor of which the database `database`, that was read, knows nothing."""

    def __init__(self, database: str, why: str) -> None:
        super().__init__(why)
        self.database = database


class Pulls:
    """One tenant's reads by devices. `acknowledge(device, sequence)` is told how far each has read
    with everything judged that it had written by then (P5).
    """

    def __init__(
        self,
        app: App,
        database: Database,
        *,
        acknowledge: Callable[[int, int], None],
        standing: Standing = STANDALONE,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._app = app
        self._database = database
        self._access = ReadAccess(app)
        self._acknowledge = acknowledge
        self._standing = standing
        self._tracer = tracer
        self._provisionals = Provisionals(app)

    async def pull(self, session: DeviceSession, pull: Pull) -> Page:
        """Return the next page; raises CursorUnknown for another database's or a future cursor.

        A replica that is behind waits, and then says that it is stale.
        """
        with self._tracer.span("pull") as span:
            page = await self._known(session, pull)
            if page.stale:
                cursor = 0 if pull.cursor is None else furthest(pull.cursor)
                if await self._standing.wait_for(max(pull.wait_for, cursor)):
                    page = await self._known(session, pull)
            outcome = "stale" if page.stale else "more" if page.more else "level"
            span.put(sequence=page.cursor.sequence, outcome=outcome)
        if pull.cursor is not None and not page.stale:
            if page.reset:
                self._acknowledge(session.device, 0)
            elif pull.unconfirmed <= page.merged_through:
                self._acknowledge(session.device, pull.cursor.sequence)
        return page

    async def repair(self, session: DeviceSession, repair: Repair) -> Repaired:
        """Return the rows of every bucket in which the device's digest differs from ours."""
        return await self._database.read(partial(self._repaired, session, repair))

    async def _known(self, session: DeviceSession, pull: Pull) -> Page:
        """Read a page; what is not known here is refused by the present database alone (P4)."""
        try:
            return await self._read(session, pull)
        except _UnknownHere as unknown:
            assert pull.cursor is not None
            if await self._standing.is_present(unknown.database):
                raise CursorUnknown(str(unknown)) from None
            return _nothing_yet(pull.cursor)

    async def _read(self, session: DeviceSession, pull: Pull) -> Page:
        # Before the snapshot: what is judged in between is left out by the snapshot itself.
        accepted = await self._standing.accepted()
        page, now = await self._database.read(
            lambda unit: self._page_and_now(session, pull, accepted, unit)
        )
        page.replicated = self._standing.replicated(now)
        return page

    def _page_and_now(
        self, session: DeviceSession, pull: Pull, accepted: Sequence[Accepted], unit: Unit
    ) -> tuple[Page, int]:
        now = unit.meta.get("sequence")
        return self._page(session, pull, accepted, unit, now), now

    def _page(
        self,
        session: DeviceSession,
        pull: Pull,
        accepted: Sequence[Accepted],
        unit: Unit,
        now: int,
    ) -> Page:
        person = session.principal.person
        database, horizon = unit.meta.get("database"), unit.meta.get("horizon")
        cursor = None if pull.cursor is None else adopted(pull.cursor, unit)
        if pull.cursor is not None and cursor is None:
            raise _UnknownHere(database, "This cursor is of another database.")
        if cursor is not None and furthest(cursor) > now:
            if self._standing.is_replica and pull.cursor is not None:
                return _nothing_yet(pull.cursor)
            raise _UnknownHere(database, "This cursor is from this database's future.")
        start, is_reset = _start(cursor, database=database, horizon=horizon)
        scan = start.backfill or Backfill(until=now, after=0)
        changed = unit.members.changed(person, after=start.sequence)
        gained = [m for m in changed if m.role is not None and m.sequence <= scan.until]
        rows = self._rows(unit, person, start.sequence, scan, gained, now, pull.rows_max)
        rows, cut = _within_bytes(rows, pull.rows_max)
        is_late = any(m.sequence > scan.until for m in changed)
        page = Page(
            Cursor(database, now),
            more=cut or is_late,
            reset=is_reset,
            gained=[] if scan.after else _told_of(gained),
            lost=[m.space for m in changed if m.role is None],
            spaces=list(
                to_space_rows(rows, self._app, schema_version=session.schema_version).values()
            ),
            horizon=horizon,
            stale=self._standing.is_replica and pull.wait_for > now,
        )
        if cut:
            page.cursor = Cursor(database, start.sequence, Backfill(scan.until, rows[-1].sequence))
            page.remaining = _remaining(unit, gained, done=rows[-1].sequence, of=now)
        elif is_late:
            page.cursor = Cursor(database, start.sequence, Backfill(now, 0))
        else:
            self._complete(page, unit, session, pull, start.sequence, gained, now)
            if unjudged := self._provisionals.unjudged(accepted, unit):
                members = {member.space: member for member in unit.members.of_person(person)}
                page.provisional = self._provisionals.of_device(session, members, unjudged)
        return page

    def _rows(  # noqa: PLR0917
        self,
        unit: Unit,
        person: str,
        since: int,
        scan: Backfill,
        gained: list[MemberRecord],
        now: int,
        rows_max: int,
    ) -> list[FeedRow]:
        """Return one page's rows and one more, if there is one."""
        lower = max(since, scan.after)
        if lower >= now and not (gained and scan.after < now):
            return []
        new_spaces = {member.space for member in gained}
        dirty = [m for m in unit.members.dirty_spaces(person, after=lower) if m.sequence <= since]
        old = [m for m in dirty if m.space not in new_spaces]
        rows: list[FeedRow] = []
        for members, after in ((gained, scan.after), (old, lower)):
            spaces = self._access.spaces_by_collection(members)
            if spaces and after < now:
                rows += unit.rows.feed(spaces, after=after, until=now, rows_max=rows_max + 1)
        if gained and old:
            rows.sort(key=lambda row: row.sequence)
        return rows[: rows_max + 1]

    def _complete(  # noqa: PLR0917
        self,
        page: Page,
        unit: Unit,
        session: DeviceSession,
        pull: Pull,
        since: int,
        gained: list[MemberRecord],
        now: int,
    ) -> None:
        """Finish the round: checkpoint and receipts, all of this snapshot."""
        touched = {member.space: member for member in gained}
        if since < now:
            for member in unit.members.dirty_spaces(session.principal.person, after=since):
                touched.setdefault(member.space, member)
        page.checkpoint = Checkpoint(now, self.digests(unit, touched.values()))
        device = unit.devices.by_number(session.device)
        page.merged_through = 0 if device is None else device.counter
        first = page.merged_through
        if 0 < pull.unconfirmed <= page.merged_through:
            first = pull.unconfirmed
            last = min(page.merged_through, pull.unconfirmed + CONFIRM_MAX - 1)
            page.merged_through = last
            page.merged, page.receipts = stored_answers(
                unit, session.device, pull.unconfirmed, last
            )
        if first:
            page.hashes = stored_hashes(unit, session.device, first, page.merged_through)

    def digests(self, unit: Unit, members: Iterable[MemberRecord]) -> dict[str, bytes]:
        """Return the digest of each space, over the collections its member may read."""
        readable = {m.space: self._access.collections(m) for m in members}
        stored = unit.digests.spaces(list(readable))
        return {
            space: to_bytes(sum(stored.get(space, {}).get(name, 0) for name in collections))
            for space, collections in readable.items()
        }

    def _repaired(self, session: DeviceSession, repair: Repair, unit: Unit) -> Repaired:
        member = unit.members.membership(session.principal.person, repair.space)
        if member is None:
            raise NotFound("There is no such space for you.")
        stored = unit.digests.buckets(repair.space)
        empty = [0] * limits.BUCKETS
        damaged: list[DamagedBucket] = []
        rows: list[FeedRow] = []
        for collection in self._access.collections(member):
            ours = stored.get(collection, empty)
            theirs = [from_bytes(d) for d in repair.digests.get(collection, [])] or empty
            buckets = {i for i in range(limits.BUCKETS) if ours[i] != theirs[i]}
            if buckets:
                damaged += [DamagedBucket(collection, bucket) for bucket in sorted(buckets)]
                rows += [
                    row
                    for row in unit.rows.of_space(collection, repair.space)
                    if bucket_of(row.id) in buckets
                ]
        encoded = to_space_rows(rows, self._app, schema_version=session.schema_version)
        return Repaired(
            repair.space,
            unit.meta.get("sequence"),
            damaged,
            encoded.get(repair.space) or encode_space_rows(repair.space, {}),
            self.digests(unit, [member])[repair.space],
        )


def _nothing_yet(cursor: Cursor) -> Page:
    """Return the page of a replica that a cursor is ahead of (P4)."""
    nothing = Checkpoint(cursor.sequence, {})
    return Page(cursor, more=False, checkpoint=nothing, stale=True)


def _start(cursor: Cursor | None, *, database: str, horizon: int) -> tuple[Cursor, bool]:
    """Return where a round starts, and whether the device must drop its confirmed rows first."""
    if cursor is None:
        return Cursor(database, 0), False
    scan = cursor.backfill
    is_behind = cursor.sequence < horizon and (cursor.sequence > 0 or scan is not None)
    if is_behind and (scan is None or scan.until < horizon):
        return Cursor(database, 0), True
    return cursor, False


def _told_of(gained: list[MemberRecord]) -> list[Gained]:
    """Return what the first page over spaces says of them.

    Later pages do not repeat it: a device drops the rows of what a page says is gained.
    """
    return [Gained(m.space, m.kind, m.role) for m in gained if m.role is not None]


def _within_bytes(rows: list[FeedRow], rows_max: int) -> tuple[list[FeedRow], bool]:
    """Cut a page at its row and byte limits; tell whether anything was cut off."""
    size_bytes = 0
    for index, row in enumerate(rows):
        if index == rows_max or size_bytes > limits.PAGE_BYTES_TARGET:
            return rows[:index], True
        size_bytes += len(row.row)
    return rows, False


def _remaining(unit: Unit, gained: list[MemberRecord], *, done: int, of: int) -> int:
    """Estimate the rows still to come, as if they lay evenly in the sequence."""
    total = unit.digests.rows([member.space for member in gained])
    return max(total * (of - done) // max(of, 1), 1)
