"""The fleet's rules: F1 to F3."""

from hypothesis import given
from hypothesis import strategies as st

from core.fleet import (
    REPORT_AGE_MS_MAX,
    Leadership,
    Report,
    further,
    is_newer,
    replicated_through,
)

NOW_MS = 10_000_000


def report(node, sequence, *, database="db", age_ms=0):
    return Report(node, database, sequence, NOW_MS - age_ms)


def through(reports, *, sequence=100, known=0):
    return replicated_through(reports, database="db", sequence=sequence, known=known, now_ms=NOW_MS)


def test_the_higher_epoch_wins():
    first, second = Leadership(1, "a", "", ""), Leadership(2, "b", "", "")
    assert is_newer(first, None)
    assert is_newer(second, first)
    assert not is_newer(first, second)
    assert not is_newer(first, first)


def test_replicated_is_what_every_node_that_is_up_has():
    assert through([report("a", 90), report("b", 70)]) == 70
    assert through([report("a", 90), report("b", 70, age_ms=REPORT_AGE_MS_MAX + 1)]) == 90
    assert through([report("a", 90), report("b", 70, database="old")]) == 90
    assert through([report("a", 300)]) == 100, "never beyond what was committed"


def test_without_a_node_that_is_up_nothing_more_counts():
    assert through([], known=40) == 40
    assert through([report("a", 90, age_ms=REPORT_AGE_MS_MAX + 1)], known=40) == 40
    assert through([report("a", 30)], known=40) == 40, "it never goes back"


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 2 * REPORT_AGE_MS_MAX)), max_size=5),
    st.integers(0, 100),
)
def test_no_node_that_is_up_lacks_what_counts_now(found, known):
    reports = [report(str(i), sequence, age_ms=age) for i, (sequence, age) in enumerate(found)]
    reached = through(reports, known=known)
    assert reached >= known
    up = [r.sequence for r in reports if NOW_MS - r.at_ms <= REPORT_AGE_MS_MAX]
    assert reached == known or (up and reached <= min([100, *up]))


def test_nobody_takes_over_who_has_read_less():
    own = {"main": 10, "other": 5}
    assert further(own, {"a": {"main": 10}, "b": {"other": 5}}) == []
    assert further(own, {"b": {"main": 11}, "a": {"third": 1}}) == ["a", "b"]
    assert further(own, {"a": {"main": 11, "other": 4}}) == ["a"], "one tenant is enough"
    assert further(own, {"a": {"new": 0}}) == [], "nothing was written there"


def test_a_report_counts_up_to_its_last_millisecond():
    assert through([report("a", 90), report("b", 70, age_ms=REPORT_AGE_MS_MAX)]) == 70
