"""What every field type is: a payload, a delta, a merge and a value.

Vocabulary
  payload  what a device sends for the field in a change (docs/PROTOCOL.md shows each)
  state    what replicas hold and compare: a JSON array, or None for "never written"
  delta    the state that one payload amounts to; merging it in is the whole effect of the write
           (delta-state CRDTs: Almeida, Shoker, Baquero 2018)
  value    what a person sees

Laws, tested for every registered type (tests/laws)
  L1  merge is commutative and associative over states
  L2  merge(a, None) == a == merge(None, a)
  L3  merge(a, a) == a, unless `is_idempotent` is False (counters: exactly-once comes from the
      mutation's identity, not from the merge)
  L4  states are canonical: equal meaning is equal JSON
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    NamedTuple,
    Self,
    TypeAlias,
    TypeVar,
    overload,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.row import RowView
    from core.values import ScalarName

T = TypeVar("T")
Payload: TypeAlias = Any
"""A parsed payload; each type has a form of its own."""

State = list[Any] | None
"""A JSON array in the type's canonical form; never mutated once made."""


class Write(NamedTuple):
    """Who writes and when: the effective clock value, the device number, the mutation counter."""

    h: int
    n: int
    counter: int


class Field(ABC, Generic[T]):
    """A declared field: a descriptor for rules to read by, and the reference merge of its type.

    `write` names the roles that may write the field (None: everyone who may edit the row);
    `default` is the value read while the state is None, and writes no rows.
    """

    kind: ClassVar[str]
    is_idempotent: ClassVar[bool] = True
    is_register: ClassVar[bool] = False
    """True when the state is [h, n, value] and a concurrent write can lose: see Register."""

    uses_receive_stamp: ClassVar[bool] = False
    """True when the primary stamps the write with the time of its receipt, not its author's."""

    name: str = ""

    def __init__(self, *, default: T, write: Iterable[str] | None = None) -> None:
        self.default = default
        self.write = None if write is None else frozenset(write)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, row: None, owner: type) -> Self: ...
    @overload
    def __get__(self, row: RowView, owner: type) -> T: ...
    def __get__(self, row: RowView | None, owner: type) -> Self | T:
        """On the collection class: the field itself. On a row view: its value."""
        return self if row is None else row.read(self)

    @abstractmethod
    def parse(self, payload: object) -> Payload:
        """Validate a payload from the wire; return its canonical form or raise FieldError."""

    @abstractmethod
    def delta(self, payload: Payload, at: Write) -> State:
        """Turn a parsed payload into the state that merging it in amounts to."""

    @abstractmethod
    def merge(self, left: State, right: State) -> State:
        """Merge two states (the reference: the SQL engine must equal it on every input)."""

    @abstractmethod
    def value(self, state: State) -> T:
        """Read a state as the value a person sees."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the parameters that must be equal on both sides, for the schema fingerprint."""

    def admit(self, before: State, payload: Payload, at: Write) -> State:
        """Return the delta to merge at the primary, given the state before; may raise Refusal.

        Only the primary calls it, once per change, in commit order: bounds that a merge cannot
        keep (escrow, sizes) are kept here.
        """
        del before
        return self.delta(payload, at)

    def proposed(self, payload: Payload) -> Any:  # noqa: ANN401  (each type has a form of its own)
        """Return what a rule sees as `change.<field>`: by default the payload itself."""
        return payload


class Register(Field[T]):
    """A field whose state is [h, n, value]: one write wins whole, and a concurrent one loses.

    Subclasses define the value's form; the write with the larger stamp wins. A mutation writes a
    register at most once (its changes share one stamp).
    """

    is_register = True
    scalar_name: ScalarName = "json"
    is_nullable: bool = False

    def delta(self, payload: Payload, at: Write) -> State:
        """Return [h, n, payload]."""
        return [at.h, at.n, payload]

    def merge(self, left: State, right: State) -> State:
        """Keep the side with the larger stamp (Shapiro et al. 2011, LWW-register)."""
        if left is None or right is None:
            return right if left is None else left
        return right if (right[0], right[1]) > (left[0], left[1]) else left

    def value(self, state: State) -> T:
        """Return the value of the winning write."""
        return self.default if state is None else state[2]
