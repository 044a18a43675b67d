"""Receipts and conflicts, as their readers see them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from core.clock import unix_ms
from edge.errors import NotFound
from edge.services.access import ReadAccess
from edge.services.ingest.repeats import stored_answers

if TYPE_CHECKING:
    from core.schema.app import App
    from edge.ports.records import ConflictRecord
    from edge.ports.stores import Database, Unit
    from edge.services.session import Principal


@dataclass(frozen=True, slots=True)
class ReceiptRead:
    """One mutation's outcome."""

    device: int
    counter: int
    outcome: str
    sequence: int
    code: str
    message: str
    fields: list[str]
    conflicts: list[Any]


@dataclass(frozen=True, slots=True)
class ConflictSide:
    """One of two concurrent writes; `at_ms` is Unix ms."""

    value: Any
    at_ms: int
    device: int


@dataclass(frozen=True, slots=True)
class ConflictRead:
    """A write that lost to one it had not seen."""

    id: int
    sequence: int
    collection: str
    row: str
    space: str
    field: str
    winner: ConflictSide
    loser: ConflictSide
    at_ms: int


class Receipts:
    """Outcomes of a person's own mutations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, principal: Principal, *, device: int, after: int, limit: int
    ) -> list[ReceiptRead]:
        """Return outcomes of one of the person's devices after a counter, ascending."""
        return await self._database.read(partial(self._list, principal, device, after, limit))

    @staticmethod
    def _list(
        principal: Principal, device: int, after: int, limit: int, unit: Unit
    ) -> list[ReceiptRead]:
        record = unit.devices.by_number(device)
        if record is None or record.person != principal.person:
            raise NotFound("There is no such device for you.")
        last = min(record.counter, after + limit)
        if last <= after:
            return []
        runs, receipts = stored_answers(unit, device, after + 1, last)
        found = [
            ReceiptRead(device, counter, "merged", sequence, "", "", [], [])
            for first, end, sequence in runs
            for counter in range(first, end + 1)
        ]
        found += [
            ReceiptRead(
                device, r.counter, r.outcome, r.sequence, r.code, r.message, r.fields,
                list(r.conflicts),
            )
            for r in receipts
        ]  # fmt: skip
        return sorted(found, key=lambda receipt: receipt.counter)


class Conflicts:
    """The conflict log, as far as the person may read its rows."""

    def __init__(self, app: App, database: Database) -> None:
        self._database = database
        self._access = ReadAccess(app)

    async def list(
        self,
        principal: Principal,
        *,
        collection: str | None = None,
        row: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[ConflictRead]:
        """Return conflicts in the person's spaces with ids after `after`, oldest first."""
        return await self._database.read(
            partial(self._list, principal, collection, row, after, limit)
        )

    def _list(  # noqa: PLR0917
        self,
        principal: Principal,
        collection: str | None,
        row: str | None,
        after: int,
        limit: int,
        unit: Unit,
    ) -> list[ConflictRead]:
        members = {m.space: m for m in unit.members.of_person(principal.person)}
        records = unit.conflicts.list(
            list(members), collection=collection, row=row, after=after, limit=limit
        )
        return [
            _conflict_read(record)
            for record in records
            if record.collection in self._access.collections(members[record.space])
        ]


def _conflict_read(record: ConflictRecord) -> ConflictRead:
    def side(written: tuple[Any, int, int]) -> ConflictSide:
        value, h, n = written
        return ConflictSide(value, unix_ms(h) if h else 0, n)

    return ConflictRead(
        record.id, record.sequence, record.collection, record.row, record.space, record.field,
        side(record.winner), side(record.loser), record.at_ms,
    )  # fmt: skip
