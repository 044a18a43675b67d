"""What devices ask for: changes of single rows, and mutations that stand or fall together."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from core.crdt.field import Field
    from core.ids import DeviceNumber, MutationCounter, RowId, SpaceId

C = TypeVar("C")
T = TypeVar("T")


class Operation(StrEnum):
    """What a change does to its row."""

    INSERT = "insert"
    EDIT = "edit"
    DELETE = "delete"
    RESTORE = "restore"


@dataclass(slots=True)
class Change(Generic[C]):
    """Field edits of one row, payloads already parsed; rules receive it as `change`.

    `base` maps register names to the clock value the author had seen (absent: never seen), `seen`
    is the clock value of the alive register it had seen. `change.title` is the proposed value, or
    None when the change does not write the field; `"title" in change` tells which.
    """

    collection: str
    row: RowId
    operation: Operation
    space: SpaceId
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    base: dict[str, int] = field(default_factory=dict[str, int])
    seen: int = 0
    proposals: dict[str, Field[Any]] = field(default_factory=dict[str, "Field[Any]"])
    """The collection's fields by name, to turn payloads into proposed values."""

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def get(self, declared: Field[T]) -> T | None:
        """Return the proposed value of a declared field, or None when it is not written."""
        if declared.name not in self.fields:
            return None
        return declared.proposed(self.fields[declared.name])

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (typed access is `get`)
        # Whoever copies a change asks for attributes before there are any.
        declared = None if name == "proposals" else self.proposals.get(name)
        if declared is None:
            raise AttributeError(name)
        return None if name not in self.fields else declared.proposed(self.fields[name])


class Mutation(NamedTuple):
    """Changes made by one device at one moment; identity (device, counter), time h."""

    device: DeviceNumber
    counter: MutationCounter
    h: int
    changes: tuple[Change[Any], ...]
