"""Map: each key merges by itself, the latest write or removal of a key wins.

A map of LWW-registers (Shapiro et al. 2011, section 3.2.1, per key). Payload: {"set": {key: value},
"remove": [key, ...]}. State: [[key, h, n, deleted, value], ...] sorted by key; deleted is 0 or 1,
and a deleted key holds null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from core import values
from core.crdt.dots import ENTRIES_MAX, require_room
from core.crdt.field import Field
from core.crdt.scalar import ScalarForm
from core.errors import DeclarationError, FieldError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.crdt.field import Payload, State, Write

T = TypeVar("T")
KEY_BYTES_MAX: Final = 256
_KEYS = frozenset({"set", "remove"})


class Map(Field[dict[str, T]]):
    """Short texts to scalars; `entries_max` bounds the keys, removed ones included."""

    kind = "map"

    def __init__(
        self,
        scalar: type[T],
        *,
        entries_max: int = ENTRIES_MAX,
        bytes_max: int | None = None,
        write: Iterable[str] | None = None,
    ) -> None:
        if entries_max < 1:
            raise DeclarationError("a map needs room for at least one key")
        super().__init__(default={}, write=write)
        self._form = ScalarForm(scalar, bytes_max=bytes_max)
        self.entries_max = entries_max

    def parse(self, payload: object) -> dict[str, Any]:
        """Validate sets and removes; a key in both is an error."""
        operations = values.mapping(payload, keys=_KEYS)
        written = values.mapping(operations.get("set", {}))
        if len(written) > self.entries_max:
            raise FieldError("too-many", f"more than {self.entries_max} keys")
        removed = {
            values.text(key, bytes_max=KEY_BYTES_MAX)
            for key in values.array(operations.get("remove", []), items_max=self.entries_max)
        }
        if not removed.isdisjoint(written):
            raise FieldError("ambiguous", "a key is both set and removed")
        return {
            "set": {
                values.text(key, bytes_max=KEY_BYTES_MAX): self._form.check(written[key])
                for key in sorted(written)
            },
            "remove": sorted(removed),
        }

    def delta(self, payload: Payload, at: Write) -> State:
        """Return one stamped entry per key."""
        entries: list[Any] = [[key, at.h, at.n, 0, value] for key, value in payload["set"].items()]
        entries.extend([key, at.h, at.n, 1, None] for key in payload["remove"])
        return sorted(entries, key=_key) or None

    def admit(self, before: State, payload: Payload, at: Write) -> State:
        """Return the delta; refuse to overfill the map."""
        delta = self.delta(payload, at)
        after = self.merge(before, delta)
        require_room(before=before, after=after, entries_max=self.entries_max)
        return delta

    def merge(self, left: State, right: State) -> State:
        """Keep the entry with the larger stamp, per key."""
        if left is None or right is None:
            return right if left is None else left
        entries = {entry[0]: entry for entry in left}
        for entry in right:
            other = entries.get(entry[0])
            if other is None or (entry[1], entry[2]) > (other[1], other[2]):
                entries[entry[0]] = entry
        return [entries[key] for key in sorted(entries)]

    def value(self, state: State) -> dict[str, T]:
        """Return the living keys and their values."""
        return {key: value for key, _, _, deleted, value in state or () if not deleted}

    def proposed(self, payload: Payload) -> dict[str, T]:
        """Return the keys a change sets, with their values."""
        return dict(payload["set"])

    def describe(self) -> dict[str, Any]:
        """Return the scalar's name and the limits."""
        return {**self._form.describe(), "entries_max": self.entries_max}


def _key(entry: list[Any]) -> str:
    return entry[0]
