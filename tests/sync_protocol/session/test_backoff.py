"""Back-off: full jitter under a doubling ceiling of at most a minute."""

from hypothesis import given
from hypothesis import strategies as st

from sync_protocol.session.backoff import BACKOFF_MAX_MS, backoff_ms


def test_the_ceiling_doubles_up_to_a_minute():
    ceilings = [backoff_ms(attempt, 1.0) for attempt in range(9)]
    assert ceilings == [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]


@given(attempt=st.integers(-5, 10**9), jitter=st.floats(-1, 2))
def test_delays_are_always_bounded(attempt, jitter):
    assert 0 <= backoff_ms(attempt, jitter) <= BACKOFF_MAX_MS


def test_jitter_spreads_from_zero():
    assert backoff_ms(3, 0.0) == 0
    assert backoff_ms(3, 0.5) == 2_000
