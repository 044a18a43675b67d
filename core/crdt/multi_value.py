"""Multi-value register: all concurrent values are shown, and a person resolves them.

Shapiro et al. 2011 (section 3.2.2), with one sibling per device. Payload: {"value": v, "seen": [[n,
counter], ...]}, the siblings the author saw. State: [[n, add, removed, h, value], ...] sorted by n;
a sibling lives while add > removed, and a dead one keeps neither h nor value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from core import values
from core.crdt import dots as seen_dots
from core.crdt.dots import ENTRIES_MAX
from core.crdt.field import Field
from core.crdt.scalar import ScalarForm
from core.errors import DeclarationError, FieldError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.crdt.field import Payload, State, Write

T = TypeVar("T")
_KEYS = frozenset({"value", "seen"})


class MultiValue(Field[tuple[T, ...]], Generic[T]):
    """The living siblings in stamp order; `entries_max` bounds the devices that ever wrote."""

    kind = "multi_value"

    def __init__(
        self,
        scalar: type[T],
        *,
        entries_max: int = ENTRIES_MAX,
        bytes_max: int | None = None,
        write: Iterable[str] | None = None,
    ) -> None:
        if entries_max < 1:
            raise DeclarationError("a multi-value register needs room for at least one device")
        super().__init__(default=(), write=write)
        self._form = ScalarForm(scalar, bytes_max=bytes_max)
        self.entries_max = entries_max

    def parse(self, payload: object) -> dict[str, Any]:
        """Validate a value and the dots it replaces."""
        operation = values.mapping(payload, keys=_KEYS)
        if "value" not in operation:
            raise FieldError("wrong-keys", "a multi-value write holds a value")
        seen = seen_dots.parse_dots(operation.get("seen", []), items_max=self.entries_max)
        return {"seen": seen, "value": self._form.check(operation["value"])}

    def delta(self, payload: Payload, at: Write) -> State:
        """Return the author's new sibling and the removal of those it saw."""
        seen = seen_dots.resolve(payload["seen"], at.n)
        entries: list[Any] = [[n, 0, seen[n], 0, None] for n in seen if n != at.n]
        # The author's own earlier sibling goes by the larger counter, whether it was seen or not.
        entries.append([at.n, at.counter, 0, at.h, payload["value"]])
        return sorted(entries, key=_device)

    def admit(self, before: State, payload: Payload, at: Write) -> State:
        """Return the delta, cut to siblings that can have been seen; refuse too many devices."""
        dots = seen_dots.seen_at_most(
            payload["seen"],
            author=at.n,
            counter=at.counter,
            known={entry[0]: entry[1] for entry in before or ()},
        )
        delta = self.delta({"seen": dots, "value": payload["value"]}, at)
        after = self.merge(before, delta)
        seen_dots.require_room(before=before, after=after, entries_max=self.entries_max)
        return delta

    def merge(self, left: State, right: State) -> State:
        """Per device keep the later sibling and the largest removal; bury what was removed."""
        if left is None or right is None:
            return right if left is None else left
        entries = {entry[0]: entry for entry in left}
        for entry in right:
            other = entries.get(entry[0])
            entries[entry[0]] = entry if other is None else _later(other, entry)
        return [entries[n] for n in sorted(entries)]

    def value(self, state: State) -> tuple[T, ...]:
        """Return the living values ordered by (h, n)."""
        return tuple(entry[4] for entry in sorted(_living(state), key=_stamp))

    def dots(self, state: State) -> list[list[int]]:
        """Return the living siblings' dots: what a resolving write must carry as `seen`."""
        return [[entry[0], entry[1]] for entry in _living(state)]

    def proposed(self, payload: Payload) -> tuple[T, ...]:
        """Return the value a change proposes, alone in a tuple (as the field reads)."""
        return (payload["value"],)

    def describe(self) -> dict[str, Any]:
        """Return the scalar's name and the limits."""
        return {**self._form.describe(), "entries_max": self.entries_max}


def _later(left: list[Any], right: list[Any]) -> list[Any]:
    newer = right if right[1] > left[1] else left
    removed = max(left[2], right[2])
    if removed >= newer[1]:
        return [newer[0], newer[1], removed, 0, None]
    return [newer[0], newer[1], removed, newer[3], newer[4]]


def _living(state: State) -> list[Any]:
    return [entry for entry in state or () if entry[1] > entry[2]]


def _device(entry: list[Any]) -> int:
    return entry[0]


def _stamp(entry: list[Any]) -> tuple[int, int]:
    return entry[3], entry[0]
