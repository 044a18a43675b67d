"""Spaces as people use them: who may make one, see its members, give roles, remove, leave.

What is allowed is decided in `core.spaces`; the decision and the change are one transaction.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from core.ids import SpaceId, is_id, new_row_id
from core.spaces import SPACE_MISSING, Ground, may_assign, may_found
from edge.errors import Conflict, EdgeError, Forbidden, InvalidQuery, NotFound
from edge.ports.records import MemberRecord
from edge.services.members import MEMBERS_LISTED_MAX, next_sequence

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.policy import Denied
    from core.schema.app import App
    from edge.ports.stores import Database, Unit
    from edge.services.session import Principal

SPACES_FOUNDED_MAX: Final = 1_000
"""Per person, over all time: far more than anybody organises, and a bound on what one can fill."""
MEMBERS_MAX: Final = MEMBERS_LISTED_MAX
"""People that managers and invitations bring into one space: what one list answers."""


class LastManager(Forbidden):
    """The change would leave a space that has a manager without one."""

    code: Final = Ground.LAST_MANAGER


@dataclass(frozen=True, slots=True)
class Founded:
    """A new space; `role` is what its founder got in it, None when the app names no such role."""

    space: SpaceId
    kind: str
    role: str | None


class Spaces:
    """One tenant's spaces, for everybody with a token."""

    def __init__(
        self,
        app: App,
        database: Database,
        *,
        now_ms: Callable[[], int],
        on_change: Callable[[], None],
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._app = app
        self._database = database
        self._now_ms = now_ms
        self._on_change = on_change
        self._entropy = entropy

    async def found(self, principal: Principal, *, kind: str, space: str | None = None) -> Founded:
        """Make a space; its founder gets the role the app declares for founders of this kind.

        Raises Forbidden (not for this person, or too many), Conflict (the id is taken), and
        InvalidQuery (an unknown kind, a malformed id).
        """
        denied = may_found(self._app, kind=kind, is_admin=principal.is_admin)
        if denied is not None:
            raise refusal(denied)
        if space is None:
            space = new_row_id(now_ms=self._now_ms(), entropy=self._entropy(10))
        elif not principal.is_admin:
            raise Forbidden("Only administrators choose the id of a space.")
        elif not is_id(space):
            raise InvalidQuery("Spaces are named by ids of 1 to 64 characters.")
        founded = Founded(SpaceId(space), kind, self._app.founders.get(kind))
        await self._database.write(partial(_found, principal, founded))
        self._on_change()
        return founded

    async def members(self, principal: Principal, space: str) -> list[MemberRecord]:
        """Return the members of a space, for its members and administrators; raises NotFound."""
        return await self._database.read(partial(_members, principal, space))

    async def assign(
        self, principal: Principal, *, space: str, person: str, role: str, kind: str | None = None
    ) -> MemberRecord:
        """Give a person a role; an administrator's first assignment makes the space.

        `kind` may be left out when the space is there, or when the app declares one kind only.
        Raises NotFound, Forbidden, LastManager, and InvalidQuery.
        """
        if not is_id(space) or not is_id(person):
            raise InvalidQuery("Spaces and people are named by ids of 1 to 64 characters.")
        work = partial(self._assign, principal, space, person, role, kind)
        member = await self._database.write(work)
        self._on_change()
        return member

    async def remove(self, principal: Principal, *, space: str, person: str) -> None:
        """Take a person out of a space, or leave it; raises NotFound, Forbidden, LastManager."""
        await self._database.write(partial(self._remove, principal, space, person))
        self._on_change()

    def _assign(  # noqa: PLR0917  (bound by `partial`; named at its only call)
        self,
        principal: Principal,
        space: str,
        person: str,
        role: str,
        kind: str | None,
        unit: Unit,
    ) -> MemberRecord:
        found_kind = unit.members.kind_of(space)
        if found_kind is None and not principal.is_admin:
            raise refusal(SPACE_MISSING)
        present = self._decide(principal, space, found_kind or self._kind(kind), person, role, unit)
        if found_kind is not None and kind not in {None, found_kind}:
            raise InvalidQuery(f"The space {space!r} is of kind {found_kind!r}.")
        if present is not None and present.role == role:
            return present
        if present is None and not principal.is_admin:
            require_room(unit, space)
        stored_kind = found_kind or self._kind(kind)
        member = MemberRecord(person, space, stored_kind, role, next_sequence(unit))
        unit.members.set(member)
        return member

    def _remove(self, principal: Principal, space: str, person: str, unit: Unit) -> None:
        kind = unit.members.kind_of(space)
        if kind is None:
            raise refusal(SPACE_MISSING)
        self._decide(principal, space, kind, person, None, unit)
        unit.members.set(MemberRecord(person, space, kind, None, next_sequence(unit)))

    def _decide(  # noqa: PLR0917
        self,
        principal: Principal,
        space: str,
        kind: str,
        person: str,
        role: str | None,
        unit: Unit,
    ) -> MemberRecord | None:
        """Return the person's present membership; raise when the change is not allowed."""
        present = unit.members.membership(person, space)
        managers = self._app.managers.get(kind, frozenset[str]())
        denied = may_assign(
            self._app,
            kind=kind,
            actor_role=role_of(principal, space, unit),
            is_admin=principal.is_admin,
            is_self=principal.person == person,
            target_present_role=None if present is None else present.role,
            new_role=role,
            managers_left=unit.members.count_others(space, roles=managers, besides=person),
        )
        if denied is not None:
            raise refusal(denied)
        return present

    def _kind(self, kind: str | None) -> str:
        if kind is None and len(self._app.spaces) == 1:
            return next(iter(self._app.spaces))
        if kind not in self._app.spaces:
            raise InvalidQuery(f"'kind' is one of {', '.join(sorted(self._app.spaces))}.")
        return kind


def role_of(principal: Principal, space: str, unit: Unit) -> str | None:
    """Return the principal's own role in a space."""
    member = unit.members.membership(principal.person, space)
    return None if member is None else member.role


def require_room(unit: Unit, space: str) -> None:
    """Raise Forbidden when a space is full."""
    if unit.members.count(space) >= MEMBERS_MAX:
        raise Forbidden(f"A space has at most {MEMBERS_MAX} members.")


def refusal(denied: Denied) -> EdgeError:
    """Return the error that a denial is told as."""
    if denied.code in {Ground.SPACE_MISSING, Ground.MEMBER_MISSING}:
        return NotFound(denied.message)
    if denied.code in {Ground.UNKNOWN_KIND, Ground.UNKNOWN_ROLE}:
        return InvalidQuery(denied.message)
    return (LastManager if denied.code == LastManager.code else Forbidden)(denied.message)


def _found(principal: Principal, founded: Founded, unit: Unit) -> None:
    if unit.members.kind_of(founded.space) is not None:
        raise Conflict("There is a space with this id already.")
    if not principal.is_admin:
        if unit.members.founded_by(principal.person) >= SPACES_FOUNDED_MAX:
            raise Forbidden(f"A person makes at most {SPACES_FOUNDED_MAX} spaces.")
        unit.members.note_founder(founded.space, principal.person)
    unit.members.ensure_space(founded.space, founded.kind)
    if founded.role is not None:
        sequence = next_sequence(unit)
        unit.members.set(
            MemberRecord(principal.person, founded.space, founded.kind, founded.role, sequence)
        )


def _members(principal: Principal, space: str, unit: Unit) -> list[MemberRecord]:
    if not principal.is_admin and unit.members.membership(principal.person, space) is None:
        raise refusal(SPACE_MISSING)
    return unit.members.of_space(space, limit=MEMBERS_LISTED_MAX)
