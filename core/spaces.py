"""Who may make spaces, and who may change who is in them. Deny by default.

Invariants
  M1  nobody but an administrator gives or takes a role without being a manager of that very space;
      leaving a space oneself is the one exception
  M2  a space that has a manager keeps one, unless an administrator decides otherwise
  M3  a space somebody is not in and a space that is not there get the same answer
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from core.policy import Denied

if TYPE_CHECKING:
    from core.schema.app import App


class Ground(StrEnum):
    """Why something about spaces is denied: the `code` of every `Denied` made here."""

    SPACE_MISSING = "space-missing"
    MEMBER_MISSING = "member-missing"
    UNKNOWN_KIND = "unknown-kind"
    UNKNOWN_ROLE = "unknown-role"
    FORBIDDEN = "forbidden"
    LAST_MANAGER = "last-manager"


SPACE_MISSING: Final = Denied(Ground.SPACE_MISSING, "There is no such space for you.")
MEMBER_MISSING: Final = Denied(Ground.MEMBER_MISSING, "This person is not in this space.")
LAST_MANAGER: Final = Denied(
    Ground.LAST_MANAGER,
    "The last manager of a space stays one: make somebody else a manager first.",
)


def may_found(app: App, *, kind: str, is_admin: bool) -> Denied | None:
    """Decide whether somebody may make a space of a kind; None means allowed."""
    if kind not in app.spaces:
        return Denied(Ground.UNKNOWN_KIND, f"'kind' is one of {', '.join(sorted(app.spaces))}.")
    if is_admin or kind in app.founders:
        return None
    return Denied(Ground.FORBIDDEN, f"Spaces of kind {kind!r} are made by administrators.")


def is_manager(app: App, *, kind: str, role: str | None) -> bool:
    """Tell whether a role manages the members of spaces of a kind."""
    return role in app.managers.get(kind, ())


def may_invite(
    app: App, *, kind: str, actor_role: str | None, is_admin: bool, role: str | None = None
) -> Denied | None:
    """Decide whether somebody may invite people as `role`, or (None) see and revoke invitations."""
    if not is_admin:
        if actor_role is None:
            return SPACE_MISSING
        if not is_manager(app, kind=kind, role=actor_role):
            return Denied(Ground.FORBIDDEN, f"The role {actor_role!r} does not manage this space.")
    return None if role is None else _unknown_role(app, kind=kind, role=role)


def may_assign(
    app: App,
    *,
    kind: str,
    actor_role: str | None,
    is_admin: bool,
    is_self: bool,
    target_present_role: str | None,
    new_role: str | None,
    managers_left: int,
) -> Denied | None:
    """Decide one change of a membership; None means allowed.

    `is_self`: the actor changes its own membership; `new_role` None takes the person out;
    `managers_left` counts the space's managers besides the person whose role changes.
    """
    if not is_admin:
        if actor_role is None:
            return SPACE_MISSING
        is_leaving = is_self and new_role is None
        if not is_leaving and not is_manager(app, kind=kind, role=actor_role):
            return Denied(Ground.FORBIDDEN, f"The role {actor_role!r} does not manage this space.")
    if new_role is None:
        if target_present_role is None:
            return MEMBER_MISSING
    elif (unknown := _unknown_role(app, kind=kind, role=new_role)) is not None:
        return unknown
    if is_admin or managers_left > 0 or is_manager(app, kind=kind, role=new_role):
        return None
    return LAST_MANAGER if is_manager(app, kind=kind, role=target_present_role) else None


def _unknown_role(app: App, *, kind: str, role: str) -> Denied | None:
    roles = app.spaces.get(kind, ())
    if role in roles:
        return None
    return Denied(Ground.UNKNOWN_ROLE, f"'role' is one of {', '.join(roles)}.")
