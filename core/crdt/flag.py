"""Enable-wins flag: a switch; turning it on survives a concurrent turning off.

The one-element case of the add-wins set (Bieniusa et al. 2012). Payload: {"on": true} or {"off":
[[n, counter], ...]} with the dots seen. State: [[n, add, removed], ...] sorted by n.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core import values
from core.crdt import dots as seen_dots
from core.crdt.dots import ENTRIES_MAX
from core.crdt.field import Field
from core.errors import DeclarationError, FieldError
from core.ids import PRIMARY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.crdt.field import Payload, State, Write

_KEYS = frozenset({"on", "off"})


class Flag(Field[bool]):
    """On while some device's dot lives; `entries_max` bounds the devices that ever turned it on."""

    kind = "flag"

    def __init__(
        self, *, entries_max: int = ENTRIES_MAX, write: Iterable[str] | None = None
    ) -> None:
        if entries_max < 1:
            raise DeclarationError("a flag needs room for at least one device")
        super().__init__(default=False, write=write)
        self.entries_max = entries_max

    def parse(self, payload: object) -> dict[str, Any]:
        """Validate {"on": true} or {"off": dots}."""
        operation = values.mapping(payload, keys=_KEYS)
        if len(operation) != 1:
            raise FieldError("wrong-keys", "a flag is turned on or off")
        if "off" in operation:
            dots = seen_dots.parse_dots(operation["off"], items_max=self.entries_max)
            return {"off": dots}
        if operation["on"] is not True:
            raise FieldError("wrong-type", "a flag is turned on with true")
        return {"on": True}

    def delta(self, payload: Payload, at: Write) -> State:
        """Return [n, counter, 0], or [n, 0, counter] per dot turned off."""
        if "on" in payload:
            return [[at.n, at.counter, 0]]
        seen = seen_dots.resolve(payload["off"], at.n)
        return [[n, 0, seen[n]] for n in sorted(seen)] or None

    def admit(self, before: State, payload: Payload, at: Write) -> State:
        """Return the delta, cut to dots that can have been seen; refuse too many devices."""
        if "off" in payload:
            is_all = at.n == PRIMARY and not payload["off"]  # the primary sees what there is
            dots = seen_dots.seen_at_most(
                self.dots(before) if is_all else payload["off"],
                author=at.n,
                counter=at.counter,
                known={n: add for n, add, _ in before or ()},
            )
            payload = {"off": dots}
        delta = self.delta(payload, at)
        after = self.merge(before, delta)
        seen_dots.require_room(before=before, after=after, entries_max=self.entries_max)
        return delta

    def merge(self, left: State, right: State) -> State:
        """Take the maximum of add and of removed, per device."""
        if left is None or right is None:
            return right if left is None else left
        entries = {entry[0]: entry for entry in left}
        for entry in right:
            n = entry[0]
            other = entries.get(n)
            entries[n] = (
                entry if other is None else [n, max(entry[1], other[1]), max(entry[2], other[2])]
            )
        return [entries[n] for n in sorted(entries)]

    def value(self, state: State) -> bool:
        """Tell whether some dot lives."""
        return any(add > removed for _, add, removed in state or ())

    def dots(self, state: State) -> list[list[int]]:
        """Return the living dots: what turning off must carry."""
        return [[n, add] for n, add, removed in state or () if add > removed]

    def proposed(self, payload: Payload) -> bool:
        """Tell whether a change turns the flag on."""
        return "on" in payload

    def describe(self) -> dict[str, Any]:
        """Return the size limit."""
        return {"entries_max": self.entries_max}
