"""Bounded counter: stock that never falls below zero, even when phones spend it offline.

Escrow (O'Neil 1986) as a CRDT: Balegas et al. 2015, "Extending eventually consistent cloud
databases for enforcing numeric invariants". A device spends only rights the primary granted it;
what nobody holds is the free pool. Payload: {"add": q}, {"use": q} or {"lease": q}; the primary
alone also writes {"reclaim": 1}, which takes unspent rights of ended leases back. State: [[n,
added, granted, used, until], ...] sorted by n; `until` is the end of n's lease in Unix
milliseconds (0: none).

Invariants, kept by `admit` in commit order
  E1  used <= granted, per device
  E2  the sum of granted <= the sum of added, so the value is never negative
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core import values
from core.clock import unix_ms
from core.crdt.field import Field
from core.errors import DeclarationError, FieldError, Refusal
from core.ids import INTEGER_MAX, PRIMARY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.crdt.field import Payload, State, Write

QUANTITY_MAX: Final = 2**40
LEASE_MS: Final = 7 * 24 * 3_600_000
"""A week: longer than most people leave a phone offline, short enough to free a dead phone's."""

LEASE_MS_MAX: Final = 366 * 24 * 3_600_000
_KEYS = frozenset({"add", "use", "lease", "reclaim"})


class BoundedCounter(Field[int]):
    """Added minus used; rights to use are leased to devices by the primary."""

    kind = "bounded_counter"
    uses_receive_stamp = True
    is_idempotent = False

    def __init__(self, *, lease_ms: int = LEASE_MS, write: Iterable[str] | None = None) -> None:
        if not 0 < lease_ms <= LEASE_MS_MAX:
            raise DeclarationError(f"lease_ms is within 1..{LEASE_MS_MAX}")
        super().__init__(default=0, write=write)
        self.lease_ms = lease_ms

    def parse(self, payload: object) -> dict[str, int]:
        """Validate one operation with a positive quantity."""
        operation = values.mapping(payload, keys=_KEYS)
        if len(operation) != 1:
            raise FieldError("wrong-keys", "stock is added, used or leased, one at a time")
        ((name, quantity),) = operation.items()
        return {name: values.integer(quantity, low=1, high=QUANTITY_MAX)}

    def delta(self, payload: Payload, at: Write) -> State:
        """Return what the author itself may assume; a lease is the primary's to grant."""
        if "add" in payload:
            return [[at.n, payload["add"], 0, 0, 0]]
        if "use" in payload:
            return [[at.n, 0, 0, payload["use"], 0]]
        return None

    def admit(self, before: State, payload: Payload, at: Write) -> State:
        """Return the delta, with the grant it needs of the pool; refuse what breaks E1 or E2."""
        if "add" in payload:
            if sum(entry[1] for entry in before or ()) + payload["add"] > INTEGER_MAX:
                raise Refusal("out-of-range", "The stock would leave its 53 bits.")
            return self.delta(payload, at)
        if "reclaim" in payload:
            if at.n != PRIMARY:
                raise Refusal("forbidden", "Only the primary takes leases back.")
            return self.reclaim(before, unix_ms(at.h))
        pool = self.pool(before)
        if "lease" in payload:
            if pool <= 0:
                raise Refusal("escrow-exhausted", "Nothing is left to lease.")
            until = unix_ms(at.h) + self.lease_ms
            return [[at.n, 0, min(payload["lease"], pool), 0, until]]
        missing = max(payload["use"] - self.rights(before, at.n), 0)
        if missing > pool:
            raise Refusal("escrow-exhausted", "Less is left than was used.")
        return [[at.n, 0, missing, payload["use"], 0]]

    def reclaim(self, state: State, now_unix_ms: int) -> State:
        """Return the delta that takes unspent rights of ended leases back, or None."""
        return [
            [n, 0, used - granted, 0, 0]
            for n, _, granted, used, until in state or ()
            if 0 < until <= now_unix_ms and granted > used
        ] or None

    def merge(self, left: State, right: State) -> State:
        """Add per device; the end of the lease is the latest."""
        if left is None or right is None:
            return right if left is None else left
        entries = {entry[0]: entry for entry in left}
        for entry in right:
            n, added, granted, used, until = entry
            other = entries.get(n)
            entries[n] = (
                entry
                if other is None
                else [
                    n,
                    other[1] + added,
                    other[2] + granted,
                    other[3] + used,
                    max(other[4], until),
                ]
            )
        return [entries[n] for n in sorted(entries)]

    def value(self, state: State) -> int:
        """Return the stock: all that was added minus all that was used."""
        return sum(added - used for _, added, _, used, _ in state or ())

    def pool(self, state: State) -> int:
        """Return the stock to which no device holds rights."""
        return sum(added - granted for _, added, granted, _, _ in state or ())

    def rights(self, state: State, n: int) -> int:
        """Return how much device `n` may still use without asking."""
        return next((entry[2] - entry[3] for entry in state or () if entry[0] == n), 0)

    def proposed(self, payload: Payload) -> int:
        """Return what a change adds, less what it uses (0 for a lease)."""
        return payload.get("add", 0) - payload.get("use", 0)

    def describe(self) -> dict[str, Any]:
        """Return the length of a lease."""
        return {"lease_ms": self.lease_ms}
