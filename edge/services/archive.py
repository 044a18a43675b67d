"""Exports: everything kept of a tenant or of one person, as one archive (GDPR, articles 15, 20).

No transaction is held while the archive is written: tables are read in pages, each its own
snapshot, by key. Rows written meanwhile are read once more at the end.

Invariants
  A1  every row that was there at the begin sequence is in its entry, as it stood then or later
  A2  the entries of rows, overlaid by `changed.ndjson` (per row the line with the highest sequence
      counts), are the tenant's rows at the end sequence; only tombstones that were collected
      between the two may be left over
  A3  an archive without a manifest is not whole
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

from core.ids import is_name
from core.row import RowState
from edge.errors import Overloaded
from edge.ports.archive import FIRST_PAIR
from edge.services.access import ReadAccess
from edge.services.archive_file import ArchiveFile
from edge.services.archive_lines import (
    Line,
    Scope,
    blob_lines,
    conflict_line,
    device_line,
    founder_line,
    invitation_line,
    quarantine_line,
    receipt_line,
    row_line,
    run_line,
)
from edge.services.erasure import Erasure, numbers_of
from sync_protocol.rows import decode_row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from core.ids import PersonId, TenantId
    from core.schema.app import App
    from core.schema.collection import Collection
    from edge.ports.records import FeedRow
    from edge.ports.stores import Database, Unit
    from edge.services.devices import Devices
    from edge.services.erasure import ErasedPerson
    from edge.services.live import Live

    Extra = Mapping[str, Iterable[dict[str, Any]] | AsyncIterable[dict[str, Any]]]
    """Streams of JSON objects by the name of their entry (without its ending)."""

T = TypeVar("T")

FORMAT: Final = 1
PAGE_RECORDS: Final = 1_000
"""Records in memory at a time, and in one snapshot: some milliseconds of a reading thread."""
PAGES_MAX: Final = 10_000_000
"""Ten thousand million records: beyond it something goes round in circles."""
CHANGED: Final = "changed.ndjson"
RESERVED: Final = frozenset(
    {
        "blobs", "changed", "conflicts", "devices", "founders", "invitations", "manifest",
        "members", "quarantine", "receipts",
    }
)  # fmt: skip
"""Entries of the tenant's own."""


class Archive:
    """One tenant's export and erasure."""

    def __init__(
        self,
        app: App,
        database: Database,
        *,
        tenant: TenantId,
        live: Live,
        devices: Devices,
        now_ms: Callable[[], int],
    ) -> None:
        self._app = app
        self._database = database
        self._tenant = tenant
        self._now_ms = now_ms
        self._access = ReadAccess(app)
        self._erasure = Erasure(database, live=live, devices=devices)

    async def erase_person(self, person: PersonId, *, emails: Sequence[str] = ()) -> ErasedPerson:
        """Erase one person (see Erasure.person); the caller ends their sessions first."""
        return await self._erasure.person(person, emails=emails)

    async def unfinished_erasures(self) -> list[PersonId]:
        """Return whose erasure was begun and cut off: call `erase_person` again for them."""
        return await self._erasure.unfinished()

    async def export(
        self, target: BinaryIO, extra: Extra, *, person: PersonId | None = None
    ) -> dict[str, Any]:
        """Write one ZIP to `target` and return its manifest; with `person`, only what is theirs.

        `target` is written in threads and not closed. After an error or a cancellation it holds no
        whole archive. The names in `extra` are names as fields have them, and none of RESERVED.
        """
        assert all(is_name(name) and name not in RESERVED for name in extra), "names of entries"
        file = ArchiveFile(target, now_ms=self._now_ms())
        try:
            scope, database, begin = await self._database.read(partial(self._begin, person))
            await self._rows(file, scope)
            await self._people(file, scope)
            await self._logs(file, scope)
            end = await self._changed(file, scope, begin)
            for name, records in extra.items():
                await _entry(file, f"{name}.ndjson", _chunks(records))
            manifest = {
                "format": FORMAT,
                "app": self._app.name,
                "schema_version": self._app.version,
                "tenant": self._tenant,
                "person": person,
                "made_at": file.made_at,
                "database": database,
                "sequence": {"begin": begin, "end": end},
                "entries": {name: asdict(entry) for name, entry in file.entries.items()},
            }
            await asyncio.to_thread(file.finish, manifest)
        except BaseException:
            file.abandon()
            raise
        return manifest

    def _begin(self, person: PersonId | None, unit: Unit) -> tuple[Scope, str, int]:
        scope = Scope()
        if person is not None:
            readable = self._access.spaces_by_collection(unit.members.of_person(person))
            scope = Scope(
                person,
                tuple(numbers_of(unit, person)),
                frozenset((name, space) for name, spaces in readable.items() for space in spaces),
            )
        return scope, unit.meta.get("database"), unit.meta.get("sequence")

    async def _rows(self, file: ArchiveFile, scope: Scope) -> None:
        declared = self._app.collections
        for name in sorted(declared):
            lines = self._collection(scope, declared[name], _one_line)
            await _entry(file, f"rows/{name}.ndjson", lines)
        await _entry(file, "blobs.ndjson", self._blobs(scope))

    async def _blobs(self, scope: Scope) -> AsyncIterator[list[Line]]:
        for declared in self._app.collections.values():
            if any(field.kind == "blob_reference" for field in declared.fields.values()):
                async for lines in self._collection(scope, declared, _blob_lines):
                    yield lines

    async def _collection(
        self,
        scope: Scope,
        declared: type[Collection],
        lines_of: Callable[[Scope, type[Collection], RowState], Iterable[Line]],
    ) -> AsyncIterator[list[Line]]:
        name = declared.collection_name
        pages = self._pages(
            lambda unit, after: unit.archive.rows(name, after=after, limit=PAGE_RECORDS),
            first="",
            key=lambda state: state.id,
        )
        async for page in pages:
            yield [
                line
                for state in page
                if (seen := scope.seen(declared, state)) is not None
                for line in lines_of(scope, declared, seen)
            ]

    async def _people(self, file: ArchiveFile, scope: Scope) -> None:
        """Write who is in which space, and with which devices."""
        limit, person = PAGE_RECORDS, scope.person
        members = self._pages(
            lambda unit, after: unit.archive.members(after=after, limit=limit, person=person),
            first=("", ""),
            key=lambda member: (member.person, member.space),
        )
        devices = self._pages(
            lambda unit, after: unit.archive.devices(after=after, limit=limit, person=person),
            first=0,
            key=lambda device: device.n,
        )
        founders = self._pages(
            lambda unit, after: unit.archive.founders(after=after, limit=limit, person=person),
            first="",
            key=lambda founder: founder[0],
        )
        invitations = self._pages(
            lambda unit, after: unit.archive.invitations(after=after, limit=limit, person=person),
            first="",
            key=lambda invitation: invitation.id,
        )
        await _entry(file, "members.ndjson", _lines(asdict, members))
        await _entry(file, "devices.ndjson", _lines(device_line, devices))
        await _entry(file, "founders.ndjson", _lines(founder_line, founders))
        await _entry(file, "invitations.ndjson", _lines(invitation_line, invitations))

    async def _logs(self, file: ArchiveFile, scope: Scope) -> None:
        """Write what became of each mutation."""
        limit, numbers = PAGE_RECORDS, scope.devices
        runs = self._pages(
            lambda unit, after: unit.archive.runs(after=after, limit=limit, numbers=numbers),
            first=FIRST_PAIR,
            key=lambda run: (run.n, run.last),
        )
        receipts = self._pages(
            lambda unit, after: unit.archive.receipts(after=after, limit=limit, numbers=numbers),
            first=FIRST_PAIR,
            key=lambda receipt: (receipt.n, receipt.counter),
        )
        quarantine = self._pages(
            lambda unit, after: unit.archive.quarantined(after=after, limit=limit, numbers=numbers),
            first=FIRST_PAIR,
            key=lambda record: (record.n, record.counter),
        )
        conflicts = self._pages(
            lambda unit, after: unit.archive.conflicts(after=after, limit=limit, numbers=numbers),
            first=0,
            key=lambda conflict: conflict.id,
        )
        both = (_lines(run_line, runs), _lines(receipt_line, receipts))
        await _entry(file, "receipts.ndjson", *both)
        await _entry(file, "quarantine.ndjson", _lines(quarantine_line, quarantine))
        await _entry(file, "conflicts.ndjson", _lines(conflict_line, conflicts))

    async def _changed(self, file: ArchiveFile, scope: Scope, begin: int) -> int:
        """Write the rows that were written since `begin`; return the end sequence (A2)."""
        await asyncio.to_thread(file.begin, CHANGED)
        after, end = begin, begin
        for _ in range(PAGES_MAX):
            end, page = await self._database.read(partial(self._since, after))
            lines: list[Line] = []
            for row in page:
                declared = self._app.collections[row.collection]
                seen = scope.seen(declared, _state(row))
                if seen is not None:
                    lines += [
                        {"collection": row.collection, **line}
                        for line in _one_line(scope, declared, seen)
                    ]
            await asyncio.to_thread(file.write, lines)
            if len(page) < PAGE_RECORDS:
                await asyncio.to_thread(file.end)
                return end
            after = page[-1].sequence
        raise Overloaded("Rows are written faster than they can be exported.")

    def _since(self, after: int, unit: Unit) -> tuple[int, list[FeedRow]]:
        now = unit.meta.get("sequence")
        spaces = sorted(unit.members.heads(after=after))
        wanted = dict.fromkeys(self._app.collections, spaces)
        return now, unit.rows.feed(wanted, after=after, until=now, rows_max=PAGE_RECORDS)

    async def _pages(
        self, read: Callable[[Unit, Any], list[T]], *, first: object, key: Callable[[T], object]
    ) -> AsyncIterator[list[T]]:
        after = first
        for _ in range(PAGES_MAX):
            page = await self._database.read(partial(_swapped, read, after))
            if page:
                yield page
                after = key(page[-1])
            if len(page) < PAGE_RECORDS:
                return
        raise Overloaded("A table is too long to be exported.")


def _swapped(read: Callable[[Unit, Any], list[T]], after: object, unit: Unit) -> list[T]:
    return read(unit, after)


def _state(row: FeedRow) -> RowState:
    row_id, alive, fields = decode_row(row.row)
    return RowState(row_id, row.space, row.sequence, alive, dict(fields))  # pyright: ignore[reportArgumentType]


def _one_line(scope: Scope, declared: type[Collection], state: RowState) -> Iterable[Line]:
    is_whole = scope.person is None or (declared.collection_name, state.space) in scope.readable
    return [row_line(declared, state, is_whole=is_whole)]


def _blob_lines(_scope: Scope, declared: type[Collection], state: RowState) -> Iterable[Line]:
    return blob_lines(declared, state)


async def _lines(
    line_of: Callable[[T], Line], pages: AsyncIterator[list[T]]
) -> AsyncIterator[list[Line]]:
    async for page in pages:
        yield [line_of(record) for record in page]


async def _entry(file: ArchiveFile, name: str, *sources: AsyncIterator[list[Line]]) -> None:
    await asyncio.to_thread(file.begin, name)
    for source in sources:
        async for lines in source:
            await asyncio.to_thread(file.write, lines)
    await asyncio.to_thread(file.end)


async def _chunks(
    records: Iterable[dict[str, Any]] | AsyncIterable[dict[str, Any]],
) -> AsyncIterator[list[Line]]:
    if isinstance(records, AsyncIterable):
        page: list[Line] = []
        async for record in records:
            page.append(record)
            if len(page) >= PAGE_RECORDS:
                yield page
                page = []
        yield page
        return
    rest = iter(records)
    while page := await asyncio.to_thread(lambda: list(islice(rest, PAGE_RECORDS))):
        yield page
