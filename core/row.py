"""A row's state, the reference fold of changes into it, and the view that rules read.

Invariants
  R1  a row's state is a function of the set of merged deltas, not of their order
  R2  `alive` is written by insert, delete and restore only; edits merge under a tombstone
  R3  fields that were never written are absent from `fields` (a default writes nothing)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.crdt.field import Field, State
    from core.ids import RowId, SpaceId

T = TypeVar("T")

UNBORN: tuple[int, int, bool] = (0, 0, False)
"""The alive register of a row that no insert has reached yet."""


@dataclass(slots=True)
class RowState:
    """Everything a replica holds of one row.

    `sequence` is the primary's sequence of the row's last write (0 while unconfirmed); `alive` is
    (h, n, is_alive); `fields` maps names to canonical states.
    """

    id: RowId
    space: SpaceId
    sequence: int = 0
    alive: tuple[int, int, bool] = UNBORN
    fields: dict[str, State] = field(default_factory=dict[str, "State"])

    @property
    def is_alive(self) -> bool:
        """Tell whether the row is visible."""
        return self.alive[2]

    def copy(self) -> RowState:
        """Return a copy whose `fields` may be changed; states themselves are never mutated."""
        return RowState(self.id, self.space, self.sequence, self.alive, dict(self.fields))


class RowDelta(NamedTuple):
    """What one admitted change merges into one row: an alive write, field deltas, or both."""

    collection: str
    row: RowId
    space: SpaceId
    alive: tuple[int, int, bool] | None
    fields: Mapping[str, State]


def merge_alive(left: tuple[int, int, bool], right: tuple[int, int, bool]) -> tuple[int, int, bool]:
    """Merge two alive registers: the larger stamp wins; on one same stamp, dead wins."""
    if (right[0], right[1]) == (left[0], left[1]):
        return right if left[2] else left
    return right if (right[0], right[1]) > (left[0], left[1]) else left


def merge_delta(row: RowState, delta: RowDelta, fields: Mapping[str, Field[Any]]) -> RowState:
    """Fold one delta into a row and return the new state; `row` stays as it is."""
    merged = row.copy()
    if delta.alive is not None:
        merged.alive = merge_alive(row.alive, delta.alive)
    for name, state in delta.fields.items():
        if state is not None:
            merged.fields[name] = fields[name].merge(row.fields.get(name), state)
    return merged


class RowView:
    """A read-only look at a row through its collection's fields; rules receive it as `before`."""

    __slots__ = ("_state",)

    def __init__(self, state: RowState) -> None:
        self._state = state

    @property
    def row_id(self) -> RowId:
        """The row's id."""
        return self._state.id

    @property
    def space_id(self) -> SpaceId:
        """The space the row lives in."""
        return self._state.space

    @property
    def is_alive(self) -> bool:
        """Whether the row exists for a person: inserted and not deleted."""
        return self._state.alive[2]

    def read(self, field: Field[T]) -> T:
        """Return the field's value in this row."""
        return field.value(self._state.fields.get(field.name))
