"""What a person may read: spaces by collection, from memberships and the app's policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.schema.app import App
    from edge.ports.records import MemberRecord


class ReadAccess:
    """Read policies of one app, prepared: (kind of space, role) -> collections."""

    def __init__(self, app: App) -> None:
        self._readable = {
            (kind, role): tuple(
                name
                for name, declared in app.collections.items()
                if declared.space_kind == kind and role in declared.access.read
            )
            for kind, roles in app.spaces.items()
            for role in roles
        }

    def collections(self, member: MemberRecord) -> tuple[str, ...]:
        """Return the collections a member may read in its space."""
        if member.role is None:
            return ()
        return self._readable.get((member.kind, member.role), ())

    def spaces_by_collection(self, members: Iterable[MemberRecord]) -> dict[str, list[str]]:
        """Return, per collection, the spaces in which the members' person may read it."""
        found: dict[str, list[str]] = {}
        for member in members:
            for collection in self.collections(member):
                found.setdefault(collection, []).append(member.space)
        return found
