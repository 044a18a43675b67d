"""Access policies: which role in a space may do what to a collection's rows. Deny by default."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.changes import Operation
from core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.crdt.field import Field


@dataclass(frozen=True, slots=True, init=False)
class Access:
    """Roles per operation on a collection; an operation without roles does not exist."""

    read: frozenset[str]
    insert: frozenset[str]
    edit: frozenset[str]
    delete: frozenset[str]
    restore: frozenset[str]

    def __init__(
        self,
        *,
        read: Iterable[str],
        insert: Iterable[str] = (),
        edit: Iterable[str] = (),
        delete: Iterable[str] = (),
        restore: Iterable[str] = (),
    ) -> None:
        for name, roles in {
            "read": read,
            "insert": insert,
            "edit": edit,
            "delete": delete,
            "restore": restore,
        }.items():
            if isinstance(roles, str):
                raise DeclarationError(f"Access.{name} takes a collection of roles, not one text")
            object.__setattr__(self, name, frozenset(roles))

    def roles(self, operation: Operation) -> frozenset[str]:
        """Return the roles that may perform `operation`."""
        return getattr(self, operation.value)


@dataclass(frozen=True, slots=True)
class Denied:
    """Why an operation is not allowed: a stable code, a message, and the fields concerned."""

    code: str
    message: str
    fields: tuple[str, ...] = ()


def decide(
    access: Access,
    fields: Mapping[str, Field[object]],
    *,
    role: str | None,
    operation: Operation,
    written: Iterable[str],
) -> Denied | None:
    """Decide one operation of one actor; None means allowed.

    A person without a role in the space, and a row that is not there, get the same answer, so that
    ids of other people's rows cannot be probed.
    """
    if role not in access.read:
        return Denied("row-missing", "There is no such row for you.")
    if role not in access.roles(operation):
        return Denied("forbidden", f"The role {role!r} may not {operation.value} these rows.")
    refused = tuple(
        name for name in written if (w := fields[name].write) is not None and role not in w
    )
    if refused:
        return Denied("field-forbidden", f"The role {role!r} may not write these fields.", refused)
    return None
