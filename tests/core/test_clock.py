"""The hybrid logical clock: laws C1 to C3, under clocks that jump and lie."""

from itertools import pairwise

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from core.clock import (
    CLOCK_MAX,
    COUNTER_BITS,
    COUNTER_MAX,
    EPOCH_UNIX_MS,
    SKEW_TOLERANCE_MS,
    HybridClock,
    effective,
    measured_skew,
    pack,
    saturated,
    unix_ms,
)
from core.errors import ClockError

LAST_MS = EPOCH_UNIX_MS + (CLOCK_MAX >> COUNTER_BITS)
TOLERANCE = SKEW_TOLERANCE_MS << COUNTER_BITS
SANE = st.integers(EPOCH_UNIX_MS, EPOCH_UNIX_MS + 10**12)
WALL_CLOCKS = SANE | st.sampled_from([0, -1, EPOCH_UNIX_MS - 1, LAST_MS - 1, -(2**70)])
STAMPS = st.integers(0, CLOCK_MAX)


@given(SANE, st.integers(0, COUNTER_MAX))
def test_packing_is_exact_and_ordered(now, counter):
    h = pack(unix_ms=now, counter=counter)
    assert unix_ms(h) == now
    assert h & COUNTER_MAX == counter
    assert float(h) == h
    assert h < pack(unix_ms=now + 1)


@pytest.mark.parametrize("now", [EPOCH_UNIX_MS - 1, LAST_MS + 1])
def test_packing_outside_53_bits_fails(now):
    with pytest.raises(ClockError):
        pack(unix_ms=now)


def test_absurd_wall_clocks_saturate():
    assert saturated(0) == 0
    assert saturated(2**70) == CLOCK_MAX
    assert saturated(EPOCH_UNIX_MS + 1) == 1 << COUNTER_BITS


@given(st.lists(WALL_CLOCKS | st.tuples(st.integers(0, CLOCK_MAX - 10**6)), max_size=20))
def test_c1_a_clock_never_goes_back(events):
    """Plain numbers are ticks at that wall clock, tuples are stamps observed."""
    clock = HybridClock()
    largest = 0
    for item in events:
        if isinstance(item, tuple):
            clock.observe(item[0])
            largest = max(largest, item[0])
            event("observed")
        else:
            h = clock.tick(item)
            assert h > largest
            event("stood still" if h == largest + 1 else "advanced")
            largest = h
        clock = HybridClock(last=clock.last)  # a restart keeps `last` and nothing else


def test_a_full_counter_carries_into_the_milliseconds():
    clock = HybridClock(last=pack(unix_ms=EPOCH_UNIX_MS, counter=COUNTER_MAX))
    assert clock.tick(EPOCH_UNIX_MS) == pack(unix_ms=EPOCH_UNIX_MS + 1)


def test_a_clock_that_has_run_out_says_so():
    with pytest.raises(ClockError):
        HybridClock(last=CLOCK_MAX).tick(0)
    clock = HybridClock(last=5)
    with pytest.raises(ClockError):
        clock.observe(CLOCK_MAX + 1)
    assert clock.last == 5


@given(SANE, st.integers(-(10**12), 10**12))
def test_skew_within_the_tolerance_is_none(now, ahead_ms):
    device = saturated(now + ahead_ms)
    skew = measured_skew(device_clock=device, now_unix_ms=now)
    if abs(device - saturated(now)) <= TOLERANCE:
        event("tolerated")
        assert skew == 0
    else:
        event("skewed")
        assert device - skew == saturated(now)


@given(SANE, st.lists(STAMPS, min_size=1, max_size=12), st.integers(-CLOCK_MAX, CLOCK_MAX))
def test_c2_c3_ingested_stamps_are_bounded_and_keep_their_order(now, stamps, skew):
    """C2 gives way to C3 by single steps only."""
    previous, ingested = 0, []
    for h in stamps:
        previous = effective(h=h, skew=skew, previous=previous, now_unix_ms=now)
        ingested.append(previous)
    assert all(earlier < later for earlier, later in pairwise(ingested))
    ceiling = saturated(now) + TOLERANCE
    for position, h in enumerate(ingested):
        assert 0 < h <= ceiling + position


@given(SANE, STAMPS, STAMPS, st.integers(0, 2**40))
def test_an_edit_is_later_than_what_its_author_saw_unless_the_claim_is_absurd(
    now, h, seen, previous
):
    ceiling = saturated(now) + TOLERANCE
    plain = effective(h=h, skew=0, previous=previous, now_unix_ms=now)
    ingested = effective(h=h, skew=0, previous=previous, now_unix_ms=now, seen=seen)
    if seen < ceiling:
        event("seen")
        assert ingested == max(plain, seen + 1)
    else:
        event("absurd")
        assert ingested == plain
    assert ingested <= max(ceiling, previous + 1)


@given(SANE, st.lists(st.integers(1, 2**40), min_size=1, max_size=12, unique=True))
def test_an_honest_queue_keeps_its_stamps(now, stamps):
    ceiling = saturated(now)
    previous = 0
    for h in sorted(h for h in stamps if h <= ceiling):
        previous = effective(h=h, skew=0, previous=previous, now_unix_ms=now)
        assert previous == h


@given(SANE, st.lists(st.integers(0, 2**40), min_size=2, max_size=8, unique=True))
def test_a_phone_ahead_by_a_year_is_shifted_and_not_collapsed(now, distances):
    year = 365 * 24 * 3_600_000
    base = pack(unix_ms=now + year)
    skew = measured_skew(device_clock=base, now_unix_ms=now)
    queue = sorted(max(base - distance, 1) for distance in distances)
    previous, ingested = 0, []
    for h in queue:
        previous = effective(h=h, skew=skew, previous=previous, now_unix_ms=now)
        ingested.append(previous)
    shifted = [h - skew for h in queue]
    if shifted[0] > 0:
        assert ingested == shifted


def test_the_last_clock_value_can_be_ticked_and_observed():
    assert HybridClock(last=CLOCK_MAX - 1).tick(0) == CLOCK_MAX
    clock = HybridClock()
    clock.observe(CLOCK_MAX)
    assert clock.last == CLOCK_MAX


def test_packing_begins_at_zero():
    assert pack(unix_ms=EPOCH_UNIX_MS) == 0
    with pytest.raises(ClockError):
        pack(unix_ms=EPOCH_UNIX_MS, counter=-1)


@pytest.mark.parametrize("beyond", [0, 1, 10**9])
def test_what_was_seen_beyond_the_bound_is_not_believed(beyond):
    now = EPOCH_UNIX_MS + 10**9
    ceiling = saturated(now) + TOLERANCE
    given_up = {"h": 5, "skew": 0, "previous": 0, "now_unix_ms": now}
    assert effective(**given_up, seen=ceiling + beyond) == 5
    assert effective(**given_up, seen=ceiling - 1) == ceiling
