"""Rates: exactly so many, told delays that are right, clocks that jump."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DeclarationError
from core.identity.limits import COUNT_MAX, PERIOD_S_MAX, Rate, admit, parse_rate

NOW_US = 1_000_000_000_000
US_PER_S = 1_000_000
rates = st.builds(Rate, st.integers(1, 50), st.integers(1, 600))
waits_us = st.integers(0, 20 * US_PER_S) | st.integers(0, 3)


@st.composite
def requests(draw, rate):
    """A history of (time, cost), in order."""
    now_us, history = NOW_US, []
    for wait_us in draw(st.lists(waits_us, min_size=1, max_size=120)):
        now_us += wait_us
        history.append((now_us, draw(st.integers(1, rate.count))))
    return history


def admitted(rate, history):
    arrival_us, taken = 0, []
    for now_us, cost in history:
        answer = admit(rate, arrival_us=arrival_us, now_us=now_us, cost=cost)
        arrival_us = answer.arrival_us
        if answer.is_admitted:
            taken.append((now_us, cost))
    return taken


@given(rates)
def test_exactly_the_count_comes_in_at_one_instant(rate):
    history = [(NOW_US, 1)] * (rate.count + 5)
    assert len(admitted(rate, history)) == rate.count


@given(st.data(), rates)
def test_no_window_admits_more_than_the_rate(data, rate):
    taken = admitted(rate, data.draw(requests(rate)))
    for first, (start_us, _) in enumerate(taken):
        total = 0
        for now_us, cost in taken[first:]:
            total += cost
            elapsed_us = now_us - start_us
            # Whole numbers only: total <= count + elapsed * count / period.
            assert (total - rate.count) * rate.period_s * US_PER_S <= elapsed_us * rate.count


@given(rates, st.integers(1, 300))
def test_who_comes_as_soon_as_told_stays_within_the_rate(rate, rounds):
    burst = admit(rate, arrival_us=0, now_us=NOW_US, cost=rate.count)
    arrival_us, now_us = burst.arrival_us, NOW_US
    for _ in range(rounds):
        now_us += admit(rate, arrival_us=arrival_us, now_us=now_us).delay_us
        arrival_us = admit(rate, arrival_us=arrival_us, now_us=now_us).arrival_us
    assert rounds * rate.period_s * US_PER_S <= (now_us - NOW_US) * rate.count


@given(rates, st.integers(1, 30))
def test_who_comes_evenly_is_always_admitted(rate, rounds):
    times = [NOW_US + turn * rate.interval_us for turn in range(rounds)]
    burst = [(NOW_US, 1)] * (rate.count - 1)
    assert len(admitted(rate, burst + [(time_us, 1) for time_us in times])) == len(burst) + rounds


@given(rates, st.integers(-(10**15), 10**15), st.data())
def test_the_told_delay_is_enough_and_not_too_long(rate, ahead_us, data):
    cost = data.draw(st.integers(1, rate.count))
    answer = admit(rate, arrival_us=NOW_US + ahead_us, now_us=NOW_US, cost=cost)
    assert answer.is_admitted == (answer.delay_us == 0)
    assert answer.delay_us <= cost * rate.interval_us
    if answer.is_admitted:
        return

    def later(us):
        kept = answer.arrival_us
        return admit(rate, arrival_us=kept, now_us=NOW_US + us, cost=cost).is_admitted

    assert later(answer.delay_us)
    assert not later(answer.delay_us - 1)


@given(rates, st.integers(1, 20))
def test_refused_requests_change_nothing(rate, refused):
    arrival_us = admit(rate, arrival_us=0, now_us=NOW_US, cost=rate.count).arrival_us
    for _ in range(refused):
        assert admit(rate, arrival_us=arrival_us, now_us=NOW_US) == (
            False,
            arrival_us,
            rate.interval_us,
        )


@given(rates, st.integers(0, 10**15))
def test_a_clock_set_back_makes_nobody_wait_longer(rate, back_us):
    arrival_us = admit(rate, arrival_us=0, now_us=NOW_US, cost=rate.count).arrival_us
    earlier_us = NOW_US - back_us
    answer = admit(rate, arrival_us=arrival_us, now_us=earlier_us)
    assert answer.delay_us <= rate.interval_us
    assert answer.arrival_us <= earlier_us + rate.count * rate.interval_us


@given(rates, st.integers(0, 10**15))
def test_a_clock_that_leaps_admits_one_burst(rate, leap_us):
    arrival_us = admit(rate, arrival_us=0, now_us=NOW_US, cost=rate.count).arrival_us
    late_us = NOW_US + rate.count * rate.interval_us + leap_us
    answer = admit(rate, arrival_us=arrival_us, now_us=late_us, cost=rate.count)
    assert answer.is_admitted
    assert not admit(rate, arrival_us=answer.arrival_us, now_us=late_us).is_admitted


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/5m", Rate(10, 300)),
        ("500/1s", Rate(500, 1)),
        ("3/2h", Rate(3, 7_200)),
        ("100/7d", Rate(100, PERIOD_S_MAX)),
        (f"{COUNT_MAX}/1s", Rate(COUNT_MAX, 1)),
    ],
)
def test_rates_are_read(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text",
    [
        *("", "10", "10/", "10/5", "10/m", "0/1s", "10/0s", "-1/1s", "1.5/1s", "10/5w"),
        *(" 10/5m", "10/5m\n", "1000001/1s", "1/8d", "99999999/1s", "1/9999999s", "\u0661/1s"),
    ],
)
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(DeclarationError, match=r"rate"):
        parse_rate(text)


def test_a_cost_that_never_comes_in_is_our_mistake():
    with pytest.raises(AssertionError):
        admit(Rate(3, 1), arrival_us=0, now_us=NOW_US, cost=4)


@pytest.mark.parametrize(
    ("rate", "interval_us"),
    [(Rate(10, 300), 30_000_000), (Rate(3, 1), 333_334), (Rate(1, 2), 2_000_000)],
)
def test_a_request_takes_its_share_of_the_period_rounded_up(rate, interval_us):
    assert rate.interval_us == interval_us
