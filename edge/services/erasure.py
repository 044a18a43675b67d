"""Erasure of one person from a tenant's database (GDPR, article 17).

What goes: their memberships, invitations, receipts, quarantined mutations, the conflicts in which
they wrote, and with all its rows every space that nobody else is in. Their devices keep their
numbers, because stamps name them, under pseudonyms that are not linked to each other. What stays:
rows of shared spaces, their values included, which belong to the space; an app that keeps a
person's id or name in such a row has to overwrite it there.

Invariants
  X1  an erasure is done in small transactions; cut off anywhere, the next call finishes it
  X2  digests of the remaining spaces are untouched: no row in them is
  X3  when it reports `is_scrubbed`, no deleted byte is left in the database's files
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from core.ids import PersonId
from edge.ports.archive import FIRST_PAIR
from edge.ports.records import MemberRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.ports.stores import Database, Unit
    from edge.services.devices import Devices
    from edge.services.live import Live

BATCH: Final = 5_000
"""Records deleted in one transaction: tens of milliseconds, so that pushes wait for no more."""
PSEUDONYM_BYTES: Final = 12
ERASING: Final = "erasing"
"""Key of the begun erasures: person -> spaces to delete. Empty when all are finished."""
LEARN_DELAY_S: Final = 1.0
"""Between removing memberships and forgetting that they were: every process's streams look for
changed memberships within milliseconds of a commit, and must find the person's name there."""
SCRUBS_MAX: Final = 5
SCRUB_DELAY_S: Final = 0.5
"""A reader in another process holds a snapshot for one unit of work, far less than five delays."""
DEVICES_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class ErasedPerson:
    """What one call has erased; `is_scrubbed`: deleted bytes are gone from the files, too."""

    memberships: int = 0
    devices: int = 0
    receipts: int = 0
    conflicts: int = 0
    spaces: int = 0
    rows: int = 0
    is_scrubbed: bool = False


class Erasure:
    """Erases people of one tenant, one at a time."""

    def __init__(
        self,
        database: Database,
        *,
        live: Live,
        devices: Devices,
        new_pseudonym: Callable[[], str] = lambda: f"erased:{token_hex(PSEUDONYM_BYTES)}",
        learn_delay_s: float = LEARN_DELAY_S,
    ) -> None:
        self._database = database
        self._live = live
        self._devices = devices
        self._new_pseudonym = new_pseudonym
        self.learn_delay_s = learn_delay_s
        self._turn = asyncio.Lock()

    async def unfinished(self) -> list[PersonId]:
        """Return whose erasure was begun and not finished."""
        begun = await self._database.read(_begun)
        return [PersonId(person) for person in begun]

    async def person(self, person: PersonId, *, emails: Sequence[str] = ()) -> ErasedPerson:
        """Erase a person; again for one who is erased, it changes nothing but scrubs once more.

        The caller has ended the person's sessions: a device that says hello afterwards is a new
        one, and brings the name back. Invitations to `emails`, their addresses, go too.
        """
        async with self._turn:
            memberships, spaces, numbers = await self._database.write(partial(_begin, person))
            self._live.expel(person)
            self._live.notify()
            if memberships:
                await asyncio.sleep(self.learn_delay_s)
            erased = ErasedPerson(memberships=memberships)
            for space in spaces:
                erased = await self._space(space, erased)
            receipts = await self._batches(
                lambda unit: unit.archive.erase_receipts(numbers, limit=BATCH)
            )
            conflicts = await self._batches(
                lambda unit: unit.archive.erase_conflicts(numbers, limit=BATCH)
            )
            await self._blank(numbers)
            late, devices = await self._database.write(
                partial(_finish, person, emails, self._new_pseudonym)
            )
            self._devices.forget(devices)
            return replace(
                erased,
                devices=len(devices),
                receipts=receipts + late,
                conflicts=erased.conflicts + conflicts,
                is_scrubbed=await self._scrub(),
            )

    async def _space(self, space: str, erased: ErasedPerson) -> ErasedPerson:
        while True:
            found = await self._database.write(partial(_erase_part, space))
            if found is None:
                return erased
            rows, conflicts, is_gone = found
            erased = replace(
                erased,
                rows=erased.rows + rows,
                conflicts=erased.conflicts + conflicts,
                spaces=erased.spaces + is_gone,
            )
            if is_gone:
                return erased

    async def _batches(self, erase: Callable[[Unit], int]) -> int:
        """Repeat a deletion until it finds nothing more; return how much it has deleted."""
        total = 0
        while erased := await self._database.write(erase):
            total += erased
        return total

    async def _blank(self, numbers: list[int]) -> None:
        after: tuple[int, int] | None = FIRST_PAIR
        while after is not None and numbers:
            after = await self._database.write(partial(_blank_page, numbers, after))

    async def _scrub(self) -> bool:
        for _ in range(SCRUBS_MAX):
            if await self._database.scrub():
                return True
            await asyncio.sleep(SCRUB_DELAY_S)
        return False


def numbers_of(unit: Unit, person: str) -> list[int]:
    """Return the numbers of all devices of a person, ascending."""
    numbers: list[int] = []
    while True:
        after = numbers[-1] if numbers else 0
        page = unit.archive.devices(after=after, limit=DEVICES_PAGE, person=person)
        numbers += [device.n for device in page]
        if len(page) < DEVICES_PAGE:
            return numbers


def _begun(unit: Unit) -> dict[str, Any]:
    return unit.meta.get(ERASING) or {}


def _begin(person: str, unit: Unit) -> tuple[int, list[str], list[int]]:
    """Remove memberships, and note which spaces go with them: nobody could tell afterwards."""
    present = unit.members.of_person(person)
    alone = [m.space for m in present if unit.members.count(m.space) == 1]
    sequence = unit.meta.get("sequence")
    for member in present:
        sequence += 1
        unit.members.set(MemberRecord(person, member.space, member.kind, None, sequence))
    unit.meta.set("sequence", sequence)
    begun = _begun(unit)
    spaces = sorted({*begun.get(person, []), *alone})
    unit.meta.set(ERASING, {**begun, person: spaces})
    return len(present), spaces, numbers_of(unit, person)


def _erase_part(space: str, unit: Unit) -> tuple[int, int, bool] | None:
    """Delete a part of a space; None when there is none, or somebody has come into it since."""
    if unit.members.kind_of(space) is None or unit.members.count(space):
        return None
    rows = unit.archive.erase_rows(space, limit=BATCH)
    if rows == BATCH:
        return rows, 0, False
    return rows, unit.archive.erase_space(space), True


def _blank_page(numbers: list[int], after: tuple[int, int], unit: Unit) -> tuple[int, int] | None:
    return unit.archive.blank_receipts(numbers, after=after, limit=BATCH)


def _finish(
    person: str, emails: Sequence[str], new_pseudonym: Callable[[], str], unit: Unit
) -> tuple[int, list[int]]:
    """Erase the names, last: as long as they are there, the rest can be found again (X1).

    Outcomes that devices have added meanwhile (refusals, for they are in no space any more) go too.
    """
    numbers = numbers_of(unit, person)
    late = 0
    while erased := unit.archive.erase_receipts(numbers, limit=BATCH):
        late += erased
    unit.archive.erase_devices(numbers, new_pseudonym)
    unit.archive.erase_person(person, emails=emails)
    begun = _begun(unit)
    begun.pop(person, None)
    unit.meta.set(ERASING, begun)
    return late, numbers
