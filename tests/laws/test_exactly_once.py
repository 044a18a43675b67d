"""Counters and escrow: what merges by addition, delivered exactly once by (device, counter)."""

from hypothesis import event, given
from hypothesis import strategies as st

from core import clock
from core.crdt.bounded_counter import BoundedCounter
from core.crdt.counter import Counter
from core.crdt.field import Write
from core.errors import Refusal
from tests.laws import strategies

COUNTER = Counter()
STOCK = BoundedCounter(lease_ms=2)


@given(st.data())
def test_counter_is_the_sum_of_distinct_accepted_deltas_of_the_last_epoch(data):
    """merge.md section 6, law 18: deliveries come in any order and more than once."""
    history = data.draw(strategies.histories(COUNTER))
    again = data.draw(st.lists(st.sampled_from(history or [None]), max_size=8))
    state, seen, accepted = None, set(), []
    for at, payload in [item for item in [*history, *again] if item is not None]:
        if (at.n, at.counter) in seen:
            event("duplicate")
            continue
        seen.add((at.n, at.counter))
        try:
            state = COUNTER.merge(state, COUNTER.admit(state, payload, at))
        except Refusal:
            event("refused")
            continue
        accepted.append(payload)
    last = max((epoch for epoch, _ in accepted), default=0)
    event(f"epoch {last}")
    assert COUNTER.epoch_of(state) == last
    assert COUNTER.value(state) == sum(delta for epoch, delta in accepted if epoch == last)


def assert_escrow_holds(state):
    assert STOCK.value(state) >= 0
    assert STOCK.pool(state) >= 0
    for n, added, granted, used, until in state or ():
        assert 0 <= used <= granted, n
        assert added >= 0
        assert until >= 0


@given(st.data())
def test_escrow_is_never_negative_in_any_prefix(data):
    """merge.md section 6, law 19, with leases that end in between."""
    state, now = None, 0
    for at, payload in data.draw(strategies.histories(STOCK)):
        now += data.draw(st.integers(0, 2))
        stamp = Write(clock.pack(unix_ms=clock.EPOCH_UNIX_MS + now), at.n, at.counter)
        try:
            state = STOCK.merge(state, STOCK.admit(state, payload, stamp))
            event(f"admitted {next(iter(payload))}")
        except Refusal as refusal:
            event(f"refused {next(iter(payload))}")
            assert refusal.code == "escrow-exhausted"  # noqa: PT017  (refusing is not the point)
        assert_escrow_holds(state)
        if data.draw(st.booleans()):
            stock = STOCK.value(state)
            taken = STOCK.reclaim(state, clock.EPOCH_UNIX_MS + now)
            event("reclaimed" if taken else "nothing to reclaim")
            state = STOCK.merge(state, taken)
            assert_escrow_holds(state)
            assert STOCK.value(state) == stock


@given(
    stock=st.integers(1, 20),
    wishes=st.lists(st.tuples(st.sampled_from((2, 3, 4)), st.integers(1, 8)), max_size=6),
    data=st.data(),
)
def test_devices_in_a_partition_spend_their_rights_without_refusal(stock, wishes, data):
    """What a device holds rights to, it may use offline; nobody else's uses can take it away."""
    now = clock.pack(unix_ms=clock.EPOCH_UNIX_MS)
    state = STOCK.admit(None, {"add": stock}, Write(now, 5, 1))
    for counter, (n, wish) in enumerate(wishes, 1):
        if STOCK.pool(state):
            state = STOCK.merge(state, STOCK.admit(state, {"lease": wish}, Write(now, n, counter)))
    offline = []
    for n in (2, 3, 4):
        rights = STOCK.rights(state, n)
        while rights:
            quantity = data.draw(st.integers(1, rights))
            offline.append((n, quantity))
            rights -= quantity
    event(f"offline uses: {min(len(offline), 5)}")
    for counter, (n, quantity) in enumerate(data.draw(st.permutations(offline)), 10):
        delta = STOCK.admit(state, {"use": quantity}, Write(now, n, counter))
        state = STOCK.merge(state, delta)
        assert_escrow_holds(state)
    assert STOCK.value(state) == stock - sum(quantity for _, quantity in offline)
