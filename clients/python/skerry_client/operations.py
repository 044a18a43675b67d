"""Operations: what an app may do to a field beyond writing a plain value.

Each turns into the field's wire payload with the help of the state the person sees: removes carry
the dots seen, additions the epoch seen. Plain values work where they have one meaning:

  registers, groups, ranked labels, maximum and minimum   the new value
  add-wins sets, maps                                     the new content (the difference is sent)
  flags, multi-value registers, custom fields             the new value
  counters, logs                                          no plain value: use Add, Reset, Append
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, cast

from core.crdt.add_wins import AddWins
from core.crdt.blob_reference import Blob
from core.crdt.bounded_counter import BoundedCounter
from core.crdt.counter import Counter
from core.crdt.flag import Flag
from core.crdt.map import Map
from core.crdt.multi_value import MultiValue
from core.crdt.ranked import Ranked
from core.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from core.crdt.field import Field, Payload, State


class Operation(ABC):
    """Something to do to one field; `kinds` names the field types that know it."""

    kinds: ClassVar[frozenset[str]]

    @abstractmethod
    def payload(self, field: Field[Any], state: State) -> Payload:
        """Return the wire payload, given the state the person sees."""


class Add(Operation):
    """Add to a counter (negative subtracts), or stock to a bounded counter."""

    kinds = frozenset({"counter", "bounded_counter"})

    def __init__(self, quantity: int) -> None:
        self.quantity = quantity

    def payload(self, field: Field[Any], state: State) -> Payload:
        """Return {"add": quantity}, with the epoch seen where the counter was reset before."""
        if isinstance(field, Counter) and (epoch := field.epoch_of(state)):
            return {"add": self.quantity, "epoch": epoch}
        return {"add": self.quantity}


class Reset(Operation):
    """Start a counter again from zero; additions that have not seen it are dropped."""

    kinds = frozenset({"counter"})

    def payload(self, field: Field[Any], state: State) -> Payload:
        """Return {"reset": epoch seen + 1}."""
        return {"reset": cast("Counter", field).epoch_of(state) + 1}


class Use(Operation):
    """Use stock of a bounded counter; raises core's Refusal when less is left."""

    kinds = frozenset({"bounded_counter"})

    def __init__(self, quantity: int) -> None:
        self.quantity = quantity

    def payload(self, field: Field[Any], state: State) -> Payload:
        """Return {"use": quantity}."""
        return {"use": self.quantity}


class Lease(Operation):
    """Ask the primary for rights to use so much stock while offline."""

    kinds = frozenset({"bounded_counter"})

    def __init__(self, quantity: int) -> None:
        self.quantity = quantity

    def payload(self, field: Field[Any], state: State) -> Payload:
        """Return {"lease": quantity}."""
        return {"lease": self.quantity}


class AddElements(Operation):
    """Add elements to an add-wins set."""

    kinds = frozenset({"add_wins"})

    def __init__(self, *elements: str) -> None:
        self.elements = elements

    def payload(self, field: Field[Any], state: State) -> Payload:
        """Return {"add": elements}."""
        return {"add": list(self.elements)}


class RemoveElements(Operation):
    """Remove elements from an add-wins set; additions that the person has not seen survive."""

    kinds = frozenset({"add_wins"})

    def __init__(self, *elements: str) -> None:
        self.elements = elements

    def payload(self, field: Field[Any], state: State) -> Payload:
        """Return {"remove": {element: dots seen}}."""
        declared = cast("AddWins", field)
        return {"remove": {element: declared.dots(state, element) for element in self.elements}}


class On(Operation):
    """Turn a flag on."""

    kinds = frozenset({"flag"})

    def payload(self, field: Field[Any], state: State) -> Payload:
        """Return {"on": true}."""
        return {"on": True}


class Off(Operation):
    """Turn a flag off; a turning on that the person has not seen survives."""

    kinds = frozenset({"flag"})

    def payload(self, field: Field[Any], state: State) -> Payload:
        """Return {"off": dots seen}."""
        return {"off": cast("Flag", field).dots(state)}


class Put(Operation):
    """Set keys of a map: `Put({"a b": 1}, c=2)`."""

    kinds = frozenset({"map"})

    def __init__(self, entries: Mapping[str, Any] | None = None, /, **named: Payload) -> None:
        self.entries = {**(entries or {}), **named}

    def payload(self, field: Field[Any], state: State) -> Payload:
        """Return {"set": entries}."""
        return {"set": self.entries}


class Drop(Operation):
    """Remove keys of a map."""

    kinds = frozenset({"map"})

    def __init__(self, *keys: str) -> None:
        self.keys = keys

    def payload(self, field: Field[Any], state: State) -> Payload:
        """Return {"remove": keys}."""
        return {"remove": list(self.keys)}


class Resolve(Operation):
    """Write a multi-value register, replacing all values the person sees."""

    kinds = frozenset({"multi_value"})

    def __init__(self, value: Payload) -> None:
        self.value = value

    def payload(self, field: Field[Any], state: State) -> Payload:
        """Return {"value": value, "seen": dots seen}."""
        return {"value": self.value, "seen": cast("MultiValue[Any]", field).dots(state)}


class Append(Operation):
    """Append values to a log."""

    kinds = frozenset({"append_only"})

    def __init__(self, *values: Payload) -> None:
        self.values = values

    def payload(self, field: Field[Any], state: State) -> Payload:
        """Return {"append": values}."""
        return {"append": list(self.values)}


class Reopen(Operation):
    """Move a ranked field to a label of a new epoch, back included."""

    kinds = frozenset({"ranked"})

    def __init__(self, label: str) -> None:
        self.label = label

    def payload(self, field: Field[Any], state: State) -> Payload:
        """Return [epoch seen + 1, label]."""
        return [cast("Ranked", field).epoch_of(state) + 1, self.label]


def payload_of(field: Field[Any], written: object, state: State) -> Payload:
    """Return the wire payload of what an app wrote: an operation, several, or a plain value.

    Raises FieldError where the field does not know the operation.
    """
    if isinstance(written, Operation):
        return _operated(field, written, state)
    if isinstance(written, list | tuple) and written:
        several = cast("list[object]", list(written))  # pyright: ignore[reportUnknownArgumentType]
        if all(isinstance(item, Operation) for item in several):
            operations = cast("list[Operation]", several)
            return _joined([_operated(field, operation, state) for operation in operations])
    plain = _PLAIN.get(field.kind)
    return _record(written) if plain is None else plain(field, written, state)


def _operated(field: Field[Any], operation: Operation, state: State) -> Payload:
    if field.kind not in operation.kinds:
        name = type(operation).__name__
        raise FieldError("wrong-operation", f"a field of kind {field.kind} does not know {name}")
    return operation.payload(field, state)


def _joined(payloads: list[Any]) -> Payload:
    """Join the payloads of several operations on one set, map or log."""
    joined: dict[str, Any] = {}
    for payload in payloads:
        for key, part in payload.items():
            if key not in joined:
                joined[key] = part
            elif isinstance(part, list):
                joined[key] = joined[key] + part
            elif isinstance(part, dict):
                joined[key] = {**joined[key], **part}
            else:
                raise FieldError("ambiguous", "these operations cannot be done in one write")
    return joined


def _record(written: Payload) -> Payload:
    if isinstance(written, Blob):
        return {"sha256": written.sha256, "size": written.size_bytes, "type": written.media_type}
    if dataclasses.is_dataclass(written) and not isinstance(written, type):
        return dataclasses.asdict(written)
    return written


def _ranked(field: Field[Any], written: Payload, state: State) -> Payload:
    epoch = cast("Ranked", field).epoch_of(state)
    return [epoch, written] if epoch and isinstance(written, str) else written


def _elements(field: Field[Any], written: Payload, state: State) -> Payload:
    if not isinstance(written, set | frozenset | list | tuple):
        raise FieldError("wrong-type", "a set is written as its elements, or with AddElements")
    wanted = set(cast("Iterable[str]", written))
    declared = cast("AddWins", field)
    # Elements of a declared default have no dots; they are added once something is written.
    present = declared.value(state) if state is not None else frozenset[str]()
    return {
        "add": sorted(wanted - present),
        "remove": {element: declared.dots(state, element) for element in sorted(present - wanted)},
    }


def _entries(field: Field[Any], written: Payload, state: State) -> Payload:
    if not isinstance(written, dict):
        raise FieldError("wrong-type", "a map is written as its entries, or with Put and Drop")
    wanted = cast("dict[str, Any]", written)
    present = cast("Map[Any]", field).value(state)
    changed = {
        key: value
        for key, value in wanted.items()
        if key not in present or present[key] != value or type(present[key]) is not type(value)
    }
    return {"set": changed, "remove": sorted(present.keys() - wanted.keys())}


def _switch(field: Field[Any], written: Payload, state: State) -> Payload:
    if not isinstance(written, bool):
        raise FieldError("wrong-type", "a flag is turned on or off")
    return (On() if written else Off()).payload(field, state)


def _custom(field: Field[Any], written: Payload, state: State) -> Payload:
    return {"base": None if state is None else field.value(state), "value": written}


def _resolving(field: Field[Any], written: Payload, state: State) -> Payload:
    return Resolve(written).payload(field, state)


_PLAIN: dict[str, Callable[[Field[Any], Payload, State], Payload]] = {
    "ranked": _ranked,
    "add_wins": _elements,
    "map": _entries,
    "flag": _switch,
    "custom": _custom,
    "multi_value": _resolving,
}
"""How plain values are written, for kinds whose payload is not the value itself."""


def locally_refused(field: Field[Any], operation: object) -> bool:
    """Tell whether a shortage seen on this phone is worth refusing: a lease asks for more."""
    return not (isinstance(field, BoundedCounter) and isinstance(operation, Lease))
