"""Counter: everybody's increments and decrements add up, and a reset starts again from zero.

An operation-based PN-counter (Shapiro et al. 2011, section 3.1.1) inside epochs. It is not
idempotent by itself: exactly-once comes from the mutation's identity. Payload: {"add": d}, {"add":
d, "epoch": e} or {"reset": e}, where e is one more than the epoch seen. State: [epoch, sum].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core import values
from core.crdt.field import Field
from core.errors import FieldError, Refusal
from core.ids import INTEGER_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.crdt.field import Payload, State, Write

DELTA_MAX: Final = 2**40
"""Eight thousand of the largest deltas still fit into the 53 bits a sum may use."""

EPOCH_MAX: Final = 2**31
_KEYS = frozenset({"add", "epoch", "reset"})


class Counter(Field[int]):
    """A sum of distinct deltas; the larger epoch replaces, an older one is dropped."""

    kind = "counter"
    is_idempotent = False

    def __init__(self, *, write: Iterable[str] | None = None) -> None:
        super().__init__(default=0, write=write)

    def parse(self, payload: object) -> list[int]:
        """Validate an addition or a reset; return [epoch, delta], which parses to itself."""
        if isinstance(payload, list):
            pair = values.array(payload, items_max=2)  # pyright: ignore[reportUnknownArgumentType]
            if len(pair) != 2:  # noqa: PLR2004  (a pair)
                raise FieldError("wrong-type", "expected [epoch, delta]")
            return [_epoch(pair[0]), _delta(pair[1])]
        operation = values.mapping(payload, keys=_KEYS)
        if "reset" in operation and len(operation) == 1:
            return [_epoch(operation["reset"]), 0]
        if "add" in operation and "reset" not in operation:
            return [_epoch(operation.get("epoch", 0)), _delta(operation["add"])]
        raise FieldError("wrong-keys", "a counter is added to or reset")

    def delta(self, payload: Payload, at: Write) -> State:
        """Return [epoch, delta]."""
        del at
        return payload

    def admit(self, before: State, payload: Payload, at: Write) -> State:
        """Return the delta; refuse skipped epochs, and sums beyond 53 bits.

        An addition in an epoch that no reset has opened would erase the sum, and an epoch far ahead
        could never be reset again.
        """
        epoch, added = payload
        present, total = (0, 0) if before is None else before
        if epoch > present + (0 if added else 1):
            raise Refusal("epoch-ahead", "The counter has not been reset that often.")
        if epoch == present and abs(total + added) > INTEGER_MAX:
            raise Refusal("out-of-range", "The counter would leave its 53 bits.")
        return self.delta(payload, at)

    def merge(self, left: State, right: State) -> State:
        """Add within one epoch; otherwise keep the larger epoch."""
        if left is None or right is None:
            return right if left is None else left
        if left[0] == right[0]:
            return [left[0], left[1] + right[1]]
        return right if right[0] > left[0] else left

    def value(self, state: State) -> int:
        """Return the sum of the present epoch."""
        return 0 if state is None else state[1]

    def epoch_of(self, state: State) -> int:
        """Return the present epoch: additions carry it, a reset carries one more."""
        return 0 if state is None else state[0]

    def proposed(self, payload: Payload) -> int:
        """Return what a change adds (0 for a reset)."""
        return payload[1]

    def describe(self) -> dict[str, Any]:
        """A counter has no parameters."""
        return {}


def _epoch(value: object) -> int:
    return values.integer(value, low=0, high=EPOCH_MAX)


def _delta(value: object) -> int:
    return values.integer(value, low=-DELTA_MAX, high=DELTA_MAX)
