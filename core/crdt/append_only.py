"""Append-only: messages and events; nothing is ever changed, everything is shown in stamp order.

A grow-only set (Shapiro et al. 2011, section 3.3.1) of entries identified by (n, counter, i).
Payload: {"append": [v, ...]}. State: [[h, n, counter, i, value], ...] sorted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from core import values
from core.crdt.dots import ENTRIES_MAX, require_room
from core.crdt.field import Field
from core.crdt.scalar import ScalarForm
from core.errors import DeclarationError, FieldError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.crdt.field import Payload, State, Write

T = TypeVar("T")
_KEYS = frozenset({"append"})


class AppendOnly(Field[tuple[T, ...]], Generic[T]):
    """A log of scalars, at most `entries_max` of them; longer logs are a collection of rows."""

    kind = "append_only"

    def __init__(
        self,
        scalar: type[T],
        *,
        entries_max: int = ENTRIES_MAX,
        bytes_max: int | None = None,
        write: Iterable[str] | None = None,
    ) -> None:
        if entries_max < 1:
            raise DeclarationError("a log needs room for at least one entry")
        super().__init__(default=(), write=write)
        self._form = ScalarForm(scalar, bytes_max=bytes_max)
        self.entries_max = entries_max

    def parse(self, payload: object) -> dict[str, Any]:
        """Validate the values to append."""
        operation = values.mapping(payload, keys=_KEYS)
        if not operation:
            raise FieldError("wrong-keys", "values are appended")
        appended = values.array(operation["append"], items_max=self.entries_max)
        return {"append": [self._form.check(value) for value in appended]}

    def delta(self, payload: Payload, at: Write) -> State:
        """Return the entries, numbered within the change."""
        return [
            [at.h, at.n, at.counter, i, value] for i, value in enumerate(payload["append"])
        ] or None

    def admit(self, before: State, payload: Payload, at: Write) -> State:
        """Return the delta; refuse to overfill the log."""
        delta = self.delta(payload, at)
        after = self.merge(before, delta)
        require_room(before=before, after=after, entries_max=self.entries_max)
        return delta

    def merge(self, left: State, right: State) -> State:
        """Take the union by (n, counter, i); entries are inserted once."""
        if left is None or right is None:
            return right if left is None else left
        entries = {_identity(entry): entry for entry in left}
        for entry in right:
            entries.setdefault(_identity(entry), entry)
        return sorted(entries.values(), key=_order)

    def value(self, state: State) -> tuple[T, ...]:
        """Return the values in stamp order."""
        return tuple(entry[4] for entry in state or ())

    def proposed(self, payload: Payload) -> tuple[T, ...]:
        """Return the values a change appends."""
        return tuple(payload["append"])

    def describe(self) -> dict[str, Any]:
        """Return the scalar's name and the limits."""
        return {**self._form.describe(), "entries_max": self.entries_max}


def _identity(entry: list[Any]) -> tuple[int, int, int]:
    return entry[1], entry[2], entry[3]


def _order(entry: list[Any]) -> tuple[int, int, int, int]:
    return entry[0], entry[1], entry[2], entry[3]
