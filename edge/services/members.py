"""Memberships as operators set them, unconditionally; devices learn of it at the next pull.

What people may do by themselves is in `edge.services.spaces`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from core.ids import is_id
from edge.errors import InvalidQuery, NotFound
from edge.ports.records import MemberRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.schema.app import App
    from edge.ports.stores import Database, Unit
    from edge.services.session import Principal

MEMBERS_LISTED_MAX: Final = 10_000
"""One answer of about 1 MB; the CLI and REST list no more."""


class Members:
    """One tenant's spaces."""

    def __init__(self, app: App, database: Database, *, on_change: Callable[[], None]) -> None:
        self._app = app
        self._database = database
        self._on_change = on_change

    async def set(self, space: str, kind: str, person: str, role: str) -> MemberRecord:
        """Give a person a role in a space; the space comes into being with its first member.

        Raises InvalidQuery for a malformed id, an undeclared kind or role, or another kind's space.
        """
        if not is_id(space) or not is_id(person):
            raise InvalidQuery("Spaces and people are named by ids of 1 to 64 characters.")
        if role not in self._app.spaces.get(kind, ()):
            raise InvalidQuery(f"A space of kind {kind!r:.60} has no role {role!r:.60}.")
        member = await self._database.write(partial(_set, space, kind, person, role))
        self._on_change()
        return member

    async def remove(self, space: str, person: str) -> None:
        """Take a person out of a space; raises NotFound when the person is not in it."""
        await self._database.write(partial(_remove, space, person))
        self._on_change()

    async def list(self, space: str) -> list[MemberRecord]:
        """Return a space's members."""
        return await self._database.read(
            lambda unit: unit.members.of_space(space, limit=MEMBERS_LISTED_MAX)
        )

    async def spaces(self, principal: Principal) -> list[MemberRecord]:
        """Return the principal's own memberships."""
        return await self._database.read(lambda unit: unit.members.of_person(principal.person))


def next_sequence(unit: Unit) -> int:
    """Take the tenant's next sequence, for a change of a membership."""
    sequence = unit.meta.get("sequence") + 1
    unit.meta.set("sequence", sequence)
    return sequence


def _set(space: str, kind: str, person: str, role: str, unit: Unit) -> MemberRecord:
    found_kind = unit.members.kind_of(space)
    if found_kind not in {None, kind}:
        raise InvalidQuery(f"The space {space!r} is of kind {found_kind!r}.")
    present = unit.members.membership(person, space)
    if present is not None and present.role == role:
        return present
    member = MemberRecord(person, space, kind, role, next_sequence(unit))
    unit.members.set(member)
    return member


def _remove(space: str, person: str, unit: Unit) -> None:
    present = unit.members.membership(person, space)
    if present is None:
        raise NotFound("This person is not in this space.")
    unit.members.set(MemberRecord(person, space, present.kind, None, next_sequence(unit)))
