"""Invitations: a code that makes whoever presents it a member of a space.

Invariants
  N1  a code is shown once, when it is made; only its SHA-256 is stored
  N2  wrong, expired, used-up and revoked codes get the same answer
  N3  an invitation is worth nothing once its inviter manages the space no longer; one that was
      made with the admin scope stands until it is revoked
  N4  an invitation never brings back a person who left or was removed after it was made
  N5  a member who accepts keeps the present role and uses nothing up, so accepting may be repeated
"""

from __future__ import annotations

import os
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from core.ids import is_id, new_row_id
from core.spaces import SPACE_MISSING, is_manager, may_invite
from edge.errors import Forbidden, InvalidGrant, InvalidQuery, NotFound
from edge.ports.records import InvitationRecord, MemberRecord
from edge.services.members import next_sequence
from edge.services.spaces import refusal, require_room, role_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.schema.app import App
    from edge.ports.stores import Database, Unit
    from edge.services.session import Principal

CODE_PREFIX: Final = "ski_"
"""So that scanners find codes that were published by mistake."""
CODE_BYTES: Final = 24
"""192 random bits: nobody guesses one, however many are open."""
USES_MAX: Final = 1_000
TTL_S_DEFAULT: Final = 7 * 24 * 3_600
TTL_S_MAX: Final = 30 * 24 * 3_600
EMAIL_LENGTH_MAX: Final = 254
"""RFC 5321, section 4.5.3.1.3."""
INVITATIONS_OPEN_MAX: Final = 1_000
"""Per space: a school invites its pupils one by one; a loop is stopped."""
USED_UP_KEPT_MAX: Final = 1_000
"""Per space, until they expire: whose answer was lost may present a used-up code again."""
_CODE: Final = re.compile(re.escape(CODE_PREFIX) + r"[A-Za-z0-9_-]{32}", re.ASCII)
_WORTHLESS: Final = "This invitation is not valid, or not valid any more."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an invitation is to be; `email` is a note, nothing is sent."""

    role: str
    email: str | None = None
    uses: int = 1
    ttl_s: int = TTL_S_DEFAULT


@dataclass(frozen=True, slots=True)
class Issued:
    """A new invitation and its code, which nothing can show again."""

    id: str
    code: str
    expires_ms: int


class Invitations:
    """One tenant's invitations."""

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

    async def create(self, principal: Principal, space: str, wanted: Wanted) -> Issued:
        """Invite to a space; raises NotFound, Forbidden (no manager, too many), InvalidQuery."""
        if not 1 <= wanted.uses <= USES_MAX or not 1 <= wanted.ttl_s <= TTL_S_MAX:
            raise InvalidQuery(f"'uses' is 1 to {USES_MAX}, 'ttl_s' 1 to {TTL_S_MAX}.")
        if wanted.email is not None and len(wanted.email) > EMAIL_LENGTH_MAX:
            raise InvalidQuery(f"'email' has at most {EMAIL_LENGTH_MAX} characters.")
        code = CODE_PREFIX + urlsafe_b64encode(self._entropy(CODE_BYTES)).decode()
        invitation = new_row_id(now_ms=self._now_ms(), entropy=self._entropy(10))
        work = partial(self._create, principal, space, wanted, invitation, _digest(code))
        record = await self._database.write(work)
        return Issued(record.id, code, record.expires_ms)

    async def list(self, principal: Principal, space: str) -> list[InvitationRecord]:
        """Return the open invitations to a space; raises NotFound, Forbidden."""
        return await self._database.read(partial(self._open, principal, space))

    async def revoke(self, principal: Principal, *, space: str, invitation: str) -> None:
        """Make an invitation worthless; raises NotFound, Forbidden."""
        await self._database.write(partial(self._revoke, principal, space, invitation))

    async def accept(self, principal: Principal, code: str) -> MemberRecord:
        """Make the principal a member; raises InvalidGrant (N2), Forbidden when the space is full.

        Accepting again, or as a member already, answers the membership as it is (N5).
        """
        if _CODE.fullmatch(code) is None or not is_id(principal.person):
            raise InvalidGrant(_WORTHLESS)
        member = await self._database.write(partial(self._accept, principal, _digest(code)))
        self._on_change()
        return member

    def _create(  # noqa: PLR0917  (bound by `partial`; named at its only call)
        self,
        principal: Principal,
        space: str,
        wanted: Wanted,
        invitation: str,
        code_sha256: bytes,
        unit: Unit,
    ) -> InvitationRecord:
        self._require_manager(principal, space, unit, role=wanted.role)
        now_ms = self._now_ms()
        found = unit.invitations.open(space, now_ms=now_ms, limit=INVITATIONS_OPEN_MAX)
        if len(found) >= INVITATIONS_OPEN_MAX:
            raise Forbidden(f"A space has at most {INVITATIONS_OPEN_MAX} open invitations.")
        unit.invitations.trim_used_up(space, kept=USED_UP_KEPT_MAX)
        record = InvitationRecord(
            id=invitation,
            code_sha256=code_sha256,
            space=space,
            role=wanted.role,
            inviter=principal.person,
            is_by_admin=principal.is_admin,
            email=wanted.email,
            uses=wanted.uses,
            used=0,
            sequence=unit.meta.get("sequence"),
            created_ms=now_ms,
            expires_ms=now_ms + wanted.ttl_s * 1_000,
        )
        unit.invitations.add(record)
        return record

    def _open(self, principal: Principal, space: str, unit: Unit) -> list[InvitationRecord]:
        self._require_manager(principal, space, unit)
        return unit.invitations.open(space, now_ms=self._now_ms(), limit=INVITATIONS_OPEN_MAX)

    def _revoke(self, principal: Principal, space: str, invitation: str, unit: Unit) -> None:
        self._require_manager(principal, space, unit)
        if not unit.invitations.revoke(space, invitation):
            raise NotFound("There is no such invitation.")

    def _accept(self, principal: Principal, code_sha256: bytes, unit: Unit) -> MemberRecord:
        invitation = unit.invitations.by_code(code_sha256)
        if invitation is None or invitation.expires_ms <= self._now_ms():
            raise InvalidGrant(_WORTHLESS)
        latest = unit.members.latest(principal.person, invitation.space)
        if latest is not None and latest.role is not None:
            return latest
        kind = unit.members.kind_of(invitation.space)
        if (
            kind is None
            or invitation.used >= invitation.uses
            or invitation.role not in self._app.spaces.get(kind, ())
            or (latest is not None and latest.sequence > invitation.sequence)
            or not self._stands(invitation, kind, unit)
        ):
            raise InvalidGrant(_WORTHLESS)
        require_room(unit, invitation.space)
        unit.invitations.use(invitation.id)
        sequence = next_sequence(unit)
        member = MemberRecord(principal.person, invitation.space, kind, invitation.role, sequence)
        unit.members.set(member)
        return member

    def _stands(self, invitation: InvitationRecord, kind: str, unit: Unit) -> bool:
        """Tell whether the inviter may still invite (N3)."""
        if invitation.is_by_admin:
            return True
        inviter = unit.members.membership(invitation.inviter, invitation.space)
        return inviter is not None and is_manager(self._app, kind=kind, role=inviter.role)

    def _require_manager(
        self, principal: Principal, space: str, unit: Unit, *, role: str | None = None
    ) -> None:
        kind = unit.members.kind_of(space)
        if kind is None:
            raise refusal(SPACE_MISSING)
        denied = may_invite(
            self._app,
            kind=kind,
            actor_role=role_of(principal, space, unit),
            is_admin=principal.is_admin,
            role=role,
        )
        if denied is not None:
            raise refusal(denied)


def _digest(code: str) -> bytes:
    return sha256(code.encode()).digest()
