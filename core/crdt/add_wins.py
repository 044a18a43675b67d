"""Add-wins set: tags; an add survives a concurrent remove of the same element.

An optimized observed-remove set (Bieniusa et al. 2012, "An optimized conflict-free replicated
set"), with one dot per element and device. Payload: {"add": [element, ...], "remove": {element:
[[n, counter], ...]}}, where a remove carries the dots it saw. State: [[element, n, add, removed],
...] sorted by (element, n) in code point order; a dot lives while add > removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core import values
from core.crdt import dots as seen_dots
from core.crdt.dots import ENTRIES_MAX
from core.crdt.field import Field
from core.errors import DeclarationError, FieldError
from core.ids import PRIMARY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.crdt.field import Payload, State, Write

ELEMENT_BYTES_MAX: Final = 256
_KEYS = frozenset({"add", "remove"})


class AddWins(Field[frozenset[str]]):
    """A set of short texts; `entries_max` bounds (element, device) pairs, removed ones included."""

    kind = "add_wins"

    def __init__(
        self,
        scalar: type[str] = str,
        *,
        entries_max: int = ENTRIES_MAX,
        default: Iterable[str] = (),
        write: Iterable[str] | None = None,
    ) -> None:
        if scalar is not str or entries_max < 1:
            raise DeclarationError("AddWins holds str, and room for at least one")
        super().__init__(default=frozenset(default), write=write)
        self.entries_max = entries_max

    def parse(self, payload: object) -> dict[str, Any]:
        """Validate adds and removes; an element in both is an error."""
        operations = values.mapping(payload, keys=_KEYS)
        added = {
            values.text(element, bytes_max=ELEMENT_BYTES_MAX)
            for element in values.array(operations.get("add", []), items_max=self.entries_max)
        }
        removed = values.mapping(operations.get("remove", {}))
        if len(removed) > self.entries_max:
            raise FieldError("too-many", f"more than {self.entries_max} removes")
        if not added.isdisjoint(removed):
            raise FieldError("ambiguous", "an element is both added and removed")
        return {
            "add": sorted(added),
            "remove": {
                values.text(element, bytes_max=ELEMENT_BYTES_MAX): seen_dots.parse_dots(
                    removed[element], items_max=self.entries_max
                )
                for element in sorted(removed)
            },
        }

    def delta(self, payload: Payload, at: Write) -> State:
        """Return [element, n, counter, 0] per add and [element, n, 0, counter] per dot removed."""
        entries: list[Any] = [[element, at.n, at.counter, 0] for element in payload["add"]]
        for element, dots in payload["remove"].items():
            for n, counter in seen_dots.resolve(dots, at.n).items():
                entries.append([element, n, 0, counter])
        return sorted(entries) or None

    def admit(self, before: State, payload: Payload, at: Write) -> State:
        """Return the delta, cut to dots that can have been seen; refuse to overfill the set."""
        known: dict[str, dict[int, int]] = {}
        for element, n, add, _ in before or ():
            known.setdefault(element, {})[n] = add
        removed = {
            element: seen_dots.seen_at_most(
                # The primary sees what there is: its rules may remove without naming dots.
                self.dots(before, element) if at.n == PRIMARY and not dots else dots,
                author=at.n,
                counter=at.counter,
                known=known.get(element, {}),
            )
            for element, dots in payload["remove"].items()
        }
        delta = self.delta({"add": payload["add"], "remove": removed}, at)
        after = self.merge(before, delta)
        seen_dots.require_room(before=before, after=after, entries_max=self.entries_max)
        return delta

    def merge(self, left: State, right: State) -> State:
        """Take the maximum of add and of removed, per (element, n)."""
        if left is None or right is None:
            return right if left is None else left
        entries = {(entry[0], entry[1]): entry for entry in left}
        for entry in right:
            key = (entry[0], entry[1])
            other = entries.get(key)
            entries[key] = (
                entry if other is None else [*key, max(entry[2], other[2]), max(entry[3], other[3])]
            )
        return [entries[key] for key in sorted(entries)]

    def value(self, state: State) -> frozenset[str]:
        """Return the elements that have a living dot."""
        if state is None:
            return self.default
        return frozenset(element for element, _, add, removed in state if add > removed)

    def dots(self, state: State, element: str) -> list[list[int]]:
        """Return the living dots of an element: what a remove of it must carry."""
        return [
            [n, add]
            for member, n, add, removed in state or ()
            if member == element and add > removed
        ]

    def proposed(self, payload: Payload) -> frozenset[str]:
        """Return the elements a change adds."""
        return frozenset(payload["add"])

    def describe(self) -> dict[str, Any]:
        """Return the scalar's name and the size limit."""
        return {"scalar": "text", "entries_max": self.entries_max}
