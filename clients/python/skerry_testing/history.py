"""Histories: which phones there were, what each of them wrote, and how it reached the primary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.changes import Operation
from core.clock import pack
from core.ids import PersonId, SpaceId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from core.changes import Change, Mutation
    from core.ids import DeviceNumber

START_H: Final = pack(unix_ms=1_790_000_000_000)
"""When histories begin: a Monday in September 2026."""


def space_of(kind: str) -> SpaceId:
    """Return the id of the one space of a kind that a history has."""
    return SpaceId(f"{kind}:1")


@dataclass(frozen=True, slots=True)
class Phone:
    """One device of one person; `roles` maps kinds of spaces to the role in the space of it."""

    device: DeviceNumber
    person: PersonId
    roles: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Push:
    """A device's mutations `first` to `last` arriving together, at `now_ms` (Unix milliseconds)."""

    device: DeviceNumber
    first: int
    last: int
    now_ms: int


Delivery = tuple[Push, ...]
"""Pushes in the order of their arrival; some arrive twice, or overlap what arrived before."""


@dataclass(frozen=True, slots=True, repr=False)
class History:
    """What several phones wrote, mostly without a network, and ways for it to be delivered.

    `mutations` are in the order in which they were made: identities (device, counter) without
    gaps, payloads parsed, bases and dots as the author saw them. `deliveries` are complete; the
    first is how it happened. All agree up to the last time a phone has read from the primary, so
    that in each of them every author had seen what its mutations say.
    """

    phones: tuple[Phone, ...]
    mutations: tuple[Mutation, ...]
    deliveries: tuple[Delivery, ...]

    def mutations_of(self, device: int) -> tuple[Mutation, ...]:
        """Return one device's mutations, counters ascending from 1."""
        return tuple(mutation for mutation in self.mutations if mutation.device == device)

    def phone(self, device: int) -> Phone:
        """Return the phone with a device number."""
        return next(phone for phone in self.phones if phone.device == device)

    def role_in(self, person: str, space: str, kind: str) -> str | None:
        """Return a person's role in a space, or None."""
        if space != space_of(kind):
            return None
        return next(
            (phone.roles.get(kind) for phone in self.phones if phone.person == person), None
        )

    def __repr__(self) -> str:
        """Tell the history, one line a mutation: Hypothesis prints it."""
        return "\n    ".join(["History of", *self._told()])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ANN401, FBT001  (IPython's protocol)
        del cycle
        printer.text(repr(self))

    def _told(self) -> Iterator[str]:
        for phone in self.phones:
            roles = ", ".join(f"{role} of {space_of(kind)}" for kind, role in phone.roles.items())
            yield f"phone {phone.device}: {phone.person}, {roles}"
        for mutation in self.mutations:
            changes = "; ".join(_told(change) for change in mutation.changes)
            yield f"{mutation.device}#{mutation.counter} at {mutation.h - START_H}: {changes}"
        for delivery in self.deliveries:
            pushes = ", ".join(f"{push.device}#{push.first}-{push.last}" for push in delivery)
            yield f"delivered: {pushes or 'nothing'}"


def _told(change: Change[Any]) -> str:
    told = f"{change.operation.value} {change.collection} {change.row}"
    if change.operation in (Operation.DELETE, Operation.RESTORE):
        return told
    parts = [
        f"{name}={payload!r}"
        + (f" (saw {saw - START_H})" if (saw := change.base.get(name)) else "")
        for name, payload in change.fields.items()
    ]
    return f"{told} {', '.join(parts)}"
