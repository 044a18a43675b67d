"""Bounded counter: escrow."""

import pytest

from core import clock
from core.crdt.bounded_counter import LEASE_MS_MAX, QUANTITY_MAX, BoundedCounter
from core.crdt.field import Write
from core.errors import DeclarationError, FieldError, Refusal
from core.ids import PRIMARY

STOCK = BoundedCounter(lease_ms=1_000)
NOW = clock.EPOCH_UNIX_MS + 10_000
AT = Write(clock.pack(unix_ms=NOW), 2, 1)


def admitted(before, payload, at=AT):
    return STOCK.merge(before, STOCK.admit(before, payload, at))


def test_added_stock_is_in_the_pool():
    state = admitted(None, {"add": 5}, Write(AT.h, 3, 1))
    assert state == [[3, 5, 0, 0, 0]]
    assert (STOCK.value(state), STOCK.pool(state), STOCK.rights(state, 3)) == (5, 5, 0)


def test_a_lease_gives_rights_until_its_end():
    state = admitted([[3, 5, 0, 0, 0]], {"lease": 9})
    assert state == [[2, 0, 5, 0, NOW + 1_000], [3, 5, 0, 0, 0]]
    assert (STOCK.pool(state), STOCK.rights(state, 2)) == (0, 5)
    with pytest.raises(Refusal) as raised:
        STOCK.admit(state, {"lease": 1}, Write(AT.h, 4, 1))
    assert raised.value.code == "escrow-exhausted"


def test_use_spends_rights_first_and_then_the_pool():
    leased = [[2, 0, 2, 0, NOW], [3, 5, 0, 0, 0]]
    assert STOCK.admit(leased, {"use": 2}, AT) == [[2, 0, 0, 2, 0]]
    assert STOCK.admit(leased, {"use": 4}, AT) == [[2, 0, 2, 4, 0]]
    assert STOCK.value(admitted(leased, {"use": 5})) == 0
    with pytest.raises(Refusal) as raised:
        STOCK.admit(leased, {"use": 6}, AT)
    assert raised.value.code == "escrow-exhausted"


def test_nobody_spends_the_rights_of_another():
    leased = [[2, 0, 5, 0, NOW], [3, 5, 0, 0, 0]]
    with pytest.raises(Refusal):
        STOCK.admit(leased, {"use": 1}, Write(AT.h, 4, 1))


def test_ended_leases_are_reclaimed_once():
    state = [[2, 0, 5, 1, NOW], [3, 9, 2, 2, NOW], [4, 0, 1, 0, NOW + 1], [5, 0, 1, 0, 0]]
    taken = STOCK.reclaim(state, NOW)
    assert taken == [[2, 0, -4, 0, 0]]
    after = STOCK.merge(state, taken)
    assert (STOCK.rights(after, 2), STOCK.pool(after)) == (0, 4)
    assert STOCK.reclaim(after, NOW) is None


def test_merging_adds_per_device_and_keeps_the_latest_end():
    left, right = [[2, 5, 3, 1, 70]], [[2, 1, 1, 1, 60], [3, 1, 0, 0, 0]]
    assert STOCK.merge(left, right) == [[2, 6, 4, 2, 70], [3, 1, 0, 0, 0]]
    assert STOCK.merge(right, left) == [[2, 6, 4, 2, 70], [3, 1, 0, 0, 0]]


def test_a_late_spend_needs_the_pool():
    after = [[2, 0, 1, 1, NOW], [3, 5, 0, 0, 0]]
    assert STOCK.admit(after, {"use": 4}, AT) == [[2, 0, 4, 4, 0]]


def test_stock_stays_within_53_bits():
    with pytest.raises(Refusal):
        STOCK.admit([[2, 2**53 - 1, 0, 0, 0]], {"add": 1}, AT)


def test_a_device_cannot_grant_itself_a_lease():
    assert STOCK.delta({"lease": 3}, AT) is None


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"add": 0},
        {"use": -1},
        {"use": 1, "add": 1},
        {"lease": QUANTITY_MAX + 1},
        {"use": 1.0},
        {"use": True},
        {"give": 1},
        3,
        None,
        [],
    ],
)
def test_bad_payloads(payload):
    with pytest.raises(FieldError):
        STOCK.parse(payload)


@pytest.mark.parametrize("lease_ms", [0, -1, 2**60])
def test_bad_declarations(lease_ms):
    with pytest.raises(DeclarationError):
        BoundedCounter(lease_ms=lease_ms)


def test_stock_may_fill_its_53_bits():
    assert STOCK.admit([[2, 2**53 - 2, 0, 0, 0]], {"add": 1}, AT) == [[2, 1, 0, 0, 0]]
    with pytest.raises(Refusal) as raised:
        STOCK.admit([[2, 2**53 - 1, 0, 0, 0]], {"add": 1}, AT)
    assert raised.value.code == "out-of-range"


def test_the_primary_alone_takes_leases_back():
    ended = [[2, 0, 5, 1, NOW]]
    payload = STOCK.parse({"reclaim": 1})
    assert STOCK.admit(ended, payload, Write(AT.h, PRIMARY, 9)) == [[2, 0, -4, 0, 0]]
    with pytest.raises(Refusal) as raised:
        STOCK.admit(ended, payload, AT)
    assert raised.value.code == "forbidden"


def test_the_last_piece_can_be_leased():
    assert STOCK.admit([[3, 1, 0, 0, 0]], {"lease": 9}, AT) == [[2, 0, 1, 0, NOW + 1_000]]


def test_a_device_with_more_rights_than_it_uses_takes_nothing_from_the_pool():
    leased = [[2, 0, 5, 0, NOW], [3, 5, 0, 0, 0]]
    assert STOCK.admit(leased, {"use": 1}, AT) == [[2, 0, 0, 1, 0]]


def test_stock_that_was_never_added_is_none():
    assert STOCK.value(None) == STOCK.pool(None) == STOCK.rights(None, 2) == 0
    assert STOCK.reclaim(None, NOW) is None


def test_the_earliest_lease_ends_too():
    assert STOCK.reclaim([[2, 0, 5, 0, 1]], NOW) == [[2, 0, -5, 0, 0]]


def test_rules_see_what_the_stock_changes_by():
    assert [STOCK.proposed(payload) for payload in ({"add": 3}, {"use": 3}, {"lease": 3})] == [
        3,
        -3,
        0,
    ]


def test_a_lease_lasts_a_millisecond_to_a_year():
    for lease_ms in (1, LEASE_MS_MAX):
        assert BoundedCounter(lease_ms=lease_ms).describe() == {"lease_ms": lease_ms}
    with pytest.raises(DeclarationError):
        BoundedCounter(lease_ms=LEASE_MS_MAX + 1)


def test_one_operation_at_a_time():
    with pytest.raises(FieldError) as raised:
        STOCK.parse({"add": 1, "use": 1})
    assert raised.value.code == "wrong-keys"
