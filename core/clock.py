"""The hybrid logical clock, packed into 53 bits (Kulkarni et al. 2014, "Logical Physical Clocks").

A clock value `h` is 41 bits of milliseconds since 2024-01-01T00:00Z and 12 bits of counter; a full
counter carries into the milliseconds, so that `h + 1` is always the next value. A stamp is the pair
(h, n) with the author's device number; stamps are compared as pairs, so ties between devices are
broken the same way everywhere.

Invariants
  C1  a clock never goes back: every tick is larger than all ticks and observations before it
  C2  an ingested stamp is at most `now + SKEW_TOLERANCE_MS`
  C3  ingest keeps each device's order: eff[i] < eff[i + 1]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from core.errors import ClockError

EPOCH_UNIX_MS: Final = 1_704_067_200_000
COUNTER_BITS: Final = 12
COUNTER_MAX: Final = (1 << COUNTER_BITS) - 1
CLOCK_MAX: Final = (1 << 53) - 1
SKEW_TOLERANCE_MS: Final = 5_000
"""A clock this close to the primary's counts as right; five seconds cover NTP and slow radios."""


class Stamp(NamedTuple):
    """When and by whom a value was written; compared as a pair."""

    h: int
    n: int


ZERO: Final = Stamp(0, 0)
"""The stamp of what was never written."""


def pack(*, unix_ms: int, counter: int = 0) -> int:
    """Pack Unix milliseconds and a counter into a clock value; ClockError outside 53 bits."""
    h = ((unix_ms - EPOCH_UNIX_MS) << COUNTER_BITS) + counter
    if not 0 <= h <= CLOCK_MAX:
        raise ClockError(f"clock value out of range: {unix_ms} ms")
    return h


def saturated(unix_ms: int) -> int:
    """Pack a wall clock that may be absurd: before 2024 gives 0, after 2093 gives the largest."""
    return min(max((unix_ms - EPOCH_UNIX_MS) << COUNTER_BITS, 0), CLOCK_MAX)


def unix_ms(h: int) -> int:
    """Return the Unix milliseconds inside a clock value."""
    return (h >> COUNTER_BITS) + EPOCH_UNIX_MS


@dataclass(slots=True)
class HybridClock:
    """A clock whose ticks only grow; the wall clock is an argument of every call.

    `last` is the largest value ticked or observed and is what a store keeps across restarts.
    """

    last: int = 0

    def tick(self, now_unix_ms: int) -> int:
        """Return the next clock value: the wall clock's, or `last + 1` when that is not ahead."""
        self.last = self._bounded(max(saturated(now_unix_ms), self.last + 1))
        return self.last

    def observe(self, h: int) -> None:
        """Take note of a value seen elsewhere, so that later ticks are larger."""
        self.last = self._bounded(max(self.last, h))

    @staticmethod
    def _bounded(h: int) -> int:
        if h > CLOCK_MAX:
            raise ClockError("the clock has run out of its 53 bits")
        return h


def measured_skew(*, device_clock: int, now_unix_ms: int) -> int:
    """Return how far a device's clock runs ahead, in clock units; 0 within the tolerance.

    `device_clock` is the device's own clock value at the moment it sent the message.
    """
    skew = device_clock - saturated(now_unix_ms)
    return skew if abs(skew) > SKEW_TOLERANCE_MS << COUNTER_BITS else 0


def effective(*, h: int, skew: int, previous: int, now_unix_ms: int, seen: int = 0) -> int:
    """Rebase one device stamp at ingest: bounded (C2) and monotone per device (C3).

    `previous` is the effective value of the device's mutation before this one (0 for the first);
    `seen` the largest clock value its author says it had read: the result is larger, so that an
    edit of what was seen wins, unless the claim lies beyond the bound. Order wins over the bound
    when both cannot hold, and then by single counter steps only.
    """
    ceiling = saturated(now_unix_ms) + (SKEW_TOLERANCE_MS << COUNTER_BITS)
    after_seen = seen + 1 if seen < ceiling else 0
    return max(previous + 1, min(h - skew, ceiling), after_seen)
