"""Rate limits as one number per subject: the generic cell rate algorithm (ITU-T I.371, annex A).

What is kept of a subject is its theoretical arrival time: when the requests admitted so far would
have come, had they come evenly. It lies in the past for whoever asks slowly; a request is admitted
as long as it does not push it further ahead of now than `count` requests take.

Invariants
  G1  at one instant exactly `count` are admitted, and over any time at most
      count + elapsed * count / period; refused requests count for nothing
  G2  the delay told with a refusal is enough when nobody else comes in between, and one microsecond
      less is not; for one request it is at most period / count, rounded up
  G3  an arrival further ahead than `count` requests can put it (the clock was set back) is taken
      as exactly that far ahead: nobody waits longer for it
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from core.errors import DeclarationError

COUNT_MAX: Final = 1_000_000
"""With a period of at least a second, a request takes at least one microsecond of it."""
PERIOD_S_MAX: Final = 7 * 86_400
"""A count over more than a week is a quota, to be kept where it survives a restart."""
_US_PER_S: Final = 1_000_000
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_RATE: Final = re.compile(r"([0-9]{1,7})/([0-9]{1,6})([smhd])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` requests at once, then one per `period_s / count`; raises DeclarationError."""

    count: int
    period_s: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= COUNT_MAX:
            raise DeclarationError(f"a rate counts 1 to {COUNT_MAX} requests, not {self.count}")
        if not 1 <= self.period_s <= PERIOD_S_MAX:
            raise DeclarationError(
                f"the period of a rate is 1 s to {PERIOD_S_MAX} s, not {self.period_s} s"
            )

    @property
    def interval_us(self) -> int:
        """Microseconds that one request takes; rounded up, so that G1 holds to the letter."""
        return -(-self.period_s * _US_PER_S // self.count)


class Admission(NamedTuple):
    """The answer to a request: the arrival to keep from now on, and how long to wait (0: come in).

    `arrival_us` of a refused request is the one that was there, or what G3 makes of it.
    """

    is_admitted: bool
    arrival_us: int
    delay_us: int


def parse_rate(text: str) -> Rate:
    """Read `10/5m`: ten in five minutes (units s, m, h, d); raises DeclarationError."""
    found = _RATE.fullmatch(text)
    if found is None:
        raise DeclarationError(f"{text!r:.40} is not a rate; write for example 10/5m or 500/1s")
    count, number, unit = found.groups()
    return Rate(int(count), int(number) * _UNIT_S[unit])


def admit(rate: Rate, *, arrival_us: int, now_us: int, cost: int = 1) -> Admission:
    """Judge a request that counts as `cost` ones, 1 to `rate.count`; `arrival_us` is what is kept.

    A subject that was never seen has any arrival that is not in the future.
    """
    assert 1 <= cost <= rate.count, "a request that costs more than the count never comes in"
    interval_us = rate.interval_us
    latest_us = now_us + rate.count * interval_us
    arrival_us = min(max(arrival_us, now_us), latest_us)
    next_us = arrival_us + cost * interval_us
    if next_us <= latest_us:
        return Admission(is_admitted=True, arrival_us=next_us, delay_us=0)
    return Admission(is_admitted=False, arrival_us=arrival_us, delay_us=next_us - latest_us)
