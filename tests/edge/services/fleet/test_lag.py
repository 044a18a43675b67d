"""The age of replicas: never younger than the truth, and no reason to turn phones away."""

import random

import pytest

from edge.services.fleet.lag import MARKS_MAX, REPORT_EVERY_MS, SILENCE_MS_MAX, Lag, Position

BOUND = 30_000


class Clock:
    def __init__(self):
        self.now = 1_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lag(clock):
    return Lag(clock)


def at(sequence, database="d1"):
    return Position(database, sequence)


def hear(lag, clock, **sequences):
    lag.heard({tenant: at(sequence) for tenant, sequence in sequences.items()}, at_ms=clock.now)


def synced(lag, clock, sequence=10):
    lag.reached("main", at(sequence))
    hear(lag, clock, main=sequence)


def test_a_level_replica_has_no_age(lag, clock):
    synced(lag, clock)
    clock.now += REPORT_EVERY_MS
    assert lag.behind("main") == (0, 0)
    assert lag.worst_ms() == 0
    assert lag.is_fresh(0)


def test_the_age_counts_from_the_last_covered_report(lag, clock):
    synced(lag, clock)
    level_ms = clock.now
    for sequence in (15, 20):
        clock.now += REPORT_EVERY_MS
        hear(lag, clock, main=sequence)
    assert lag.behind("main") == (10, clock.now - level_ms)
    lag.reached("main", at(17))
    assert lag.behind("main") == (3, REPORT_EVERY_MS)
    lag.reached("main", at(20))
    assert lag.behind("main") == (0, 0)


def test_under_load_it_is_never_level_and_never_old(lag, clock):
    synced(lag, clock)
    for sequence in range(100, 100_000, 100):
        clock.now += REPORT_EVERY_MS
        hear(lag, clock, main=sequence)
        lag.reached("main", at(sequence - 1))
    sequences, age_ms = lag.behind("main")
    assert sequences == 1
    assert age_ms == REPORT_EVERY_MS


def test_the_oldest_tenant_counts(lag, clock):
    for tenant in ("main", "other"):
        lag.reached(tenant, at(5))
    hear(lag, clock, main=5, other=5)
    clock.now += 1_000
    hear(lag, clock, main=6, other=5)
    assert lag.behind("other") == (0, 0)
    assert lag.worst_ms() == 1_000
    assert lag.tenants() == ["main", "other"]


def test_nothing_is_level_across_databases(lag, clock):
    synced(lag, clock, sequence=100)
    clock.now += 500
    lag.heard({"main": at(90, "d2")}, at_ms=clock.now)
    assert lag.behind("main") == (90, 500)
    lag.reached("main", at(120))
    assert lag.behind("main") == (90, 500)
    lag.reached("main", at(90, "d2"))
    assert lag.behind("main") == (0, 0)


def test_what_the_old_primary_said_covers_nothing_of_the_new_one(lag, clock):
    synced(lag, clock)
    level_ms = clock.now
    clock.now += 500
    hear(lag, clock, main=15)
    clock.now += 500
    lag.heard({"main": at(40, "d2")}, at_ms=clock.now)
    lag.reached("main", at(20, "d2"))
    assert lag.behind("main") == (20, clock.now - level_ms)


def test_a_silent_primary_makes_a_level_replica_older(lag, clock):
    synced(lag, clock)
    clock.now += SILENCE_MS_MAX + 1
    assert lag.worst_ms() == SILENCE_MS_MAX + 1
    assert not lag.is_primary_heard


def test_a_new_tenant_was_not_missing_before_it_was_there(lag, clock):
    synced(lag, clock)
    clock.now += 250
    hear(lag, clock, main=10, young=3)
    assert lag.behind("young") == (3, 250)
    assert lag.readiness(BOUND).is_ready
    clock.now += 250
    hear(lag, clock, main=10)
    assert lag.tenants() == ["main"]
    assert lag.worst_ms() == 0


def test_an_answer_that_was_overtaken_counts_for_nothing(lag, clock):
    synced(lag, clock, sequence=10)
    lag.heard({"main": at(4), "gone": at(1)}, at_ms=clock.now - 1)
    assert lag.tenants() == ["main"]
    assert lag.behind("main") == (0, 0)


def test_a_replica_that_stands_still_keeps_few_marks(lag, clock):
    synced(lag, clock)
    level_ms = clock.now
    for sequence in range(11, 5_000):
        clock.now += REPORT_EVERY_MS
        hear(lag, clock, main=sequence)
        assert lag._marks["main"].uncovered[-1] == (sequence, clock.now)
    assert len(lag._marks["main"].uncovered) <= MARKS_MAX
    assert lag.behind("main") == (4_989, clock.now - level_ms)
    lag.reached("main", at(4_999))
    assert lag.behind("main") == (0, 0)


@pytest.mark.parametrize("seed", range(20))
def test_no_age_is_shorter_than_the_truth(seed, clock):
    """The primary's history is known here: when each commit was made."""
    draw = random.Random(seed)
    lag = Lag(clock)
    made_ms = [clock.now]  # by sequence
    reached = 0
    lag.reached("main", at(0))
    for _ in range(600):
        clock.now += draw.randrange(1, 120)
        made_ms += [clock.now] * draw.choice((0, 0, 1, 5))
        if draw.random() < 0.3:
            hear(lag, clock, main=len(made_ms) - 1)
        if draw.random() < 0.2:
            reached = draw.randint(reached, len(made_ms) - 1)
            lag.reached("main", at(reached))
        _, age_ms = lag.behind("main")
        missing_ms = 0 if reached == len(made_ms) - 1 else clock.now - made_ms[reached + 1]
        if age_ms == 0:  # level with the last report, which is that old
            age_ms = clock.now - lag._heard_ms
        assert age_ms is None or age_ms >= missing_ms


class TestReadiness:
    def test_nothing_is_served_before_the_first_sync(self, lag, clock):
        assert lag.readiness(BOUND).why.startswith("starting")
        hear(lag, clock, main=10)
        lag.reached("main", at(4))
        assert lag.readiness(BOUND).why.startswith("first-sync")
        assert lag.worst_ms() is None
        lag.reached("main", at(10))
        assert lag.readiness(BOUND).is_ready

    def test_one_tenant_is_not_all(self, lag, clock):
        hear(lag, clock, main=10, other=5)
        lag.reached("main", at(10))
        assert not lag.readiness(BOUND).is_ready
        lag.reached("other", at(5))
        assert lag.readiness(BOUND).is_ready

    def test_a_replica_that_falls_behind_an_answering_primary_is_broken(self, lag, clock):
        synced(lag, clock)
        for _ in range(BOUND // REPORT_EVERY_MS):
            clock.now += REPORT_EVERY_MS
            hear(lag, clock, main=11)
        assert lag.readiness(BOUND).is_ready
        clock.now += REPORT_EVERY_MS
        hear(lag, clock, main=12)
        readiness = lag.readiness(BOUND)
        assert not readiness.is_ready
        assert not readiness.is_fresh
        assert readiness.why.startswith("replica-behind")

    def test_an_edge_that_is_cut_off_stays_ready_and_says_how_old_it_is(self, lag, clock):
        synced(lag, clock)
        cut_ms = clock.now
        for _ in range(0, 10 * BOUND, 100):  # at no moment in between is it turned away
            clock.now += 100
            readiness = lag.readiness(1_000)
            assert readiness.is_ready
            assert readiness.is_fresh == (clock.now - cut_ms <= max(1_000, SILENCE_MS_MAX))
        assert readiness.detail == {"primary": "away", "replica_age_ms": 10 * BOUND}

    def test_an_edge_that_starts_without_its_primary_serves_what_it_has(self, lag, clock):
        lag.reached("main", at(4))
        clock.now += SILENCE_MS_MAX + 1
        readiness = lag.readiness(BOUND)
        assert readiness.is_ready
        assert not readiness.is_fresh
        assert readiness.detail == {"primary": "away", "replica_age_ms": None}

    def test_an_empty_edge_without_its_primary_does_not(self, lag, clock):
        clock.now += SILENCE_MS_MAX + 1
        assert lag.readiness(BOUND).why.startswith("no-replica")
