"""The port to the table that counts requests, shared by all processes of a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from core.identity.limits import Rate

KEY_BYTES: Final = 16
CHARGES_MAX: Final = 8
"""Charges of one request: it has an account, a device and an address, and room for more."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one request costs one subject: `key` is a hash of KEY_BYTES, `cost` 1 to `rate.count`.

    A key always comes with the same rate.
    """

    key: bytes
    rate: Rate
    cost: int = 1


class LimitTable(Protocol):
    """Counts requests, exactly over all processes of a node (core.identity.limits, G1 to G3)."""

    def charge(self, charges: Sequence[Charge], *, now_us: int) -> int:
        """Admit at most CHARGES_MAX charges of different keys, all of them or none.

        Returns 0 when they are admitted, else after how many microseconds all of them would be.
        `now_us` is a clock that all processes share and that does not go back. Raises Overloaded
        when the table cannot be had.
        """
        ...
