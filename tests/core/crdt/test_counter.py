"""Counter with epochs."""

import pytest

from core.crdt.counter import DELTA_MAX, EPOCH_MAX, Counter
from core.crdt.field import Write
from core.errors import FieldError, Refusal

VISITS = Counter()
AT = Write(1, 2, 3)


def test_equal_epochs_add_and_larger_ones_replace():
    assert VISITS.merge([1, 5], [1, -2]) == [1, 3]
    assert VISITS.merge([1, 5], [2, 1]) == [2, 1] == VISITS.merge([2, 1], [1, 5])


def test_payloads():
    assert VISITS.parse({"add": 2}) == [0, 2]
    assert VISITS.parse({"add": -2, "epoch": 3}) == [3, -2]
    assert VISITS.parse({"reset": 4}) == [4, 0]
    assert VISITS.epoch_of([4, 0]) == 4
    assert VISITS.epoch_of(None) == 0 == VISITS.value(None)


def test_it_says_that_merging_twice_counts_twice():
    assert not Counter.is_idempotent
    assert VISITS.merge([0, 2], [0, 2]) == [0, 4]


def test_epochs_cannot_be_skipped():
    assert VISITS.admit([1, 5], [2, 0], AT) == [2, 0]
    assert VISITS.admit([1, 5], [0, 9], AT) == [0, 9]
    for payload in ([3, 0], [2, 1]):
        with pytest.raises(Refusal) as raised:
            VISITS.admit([1, 5], payload, AT)
        assert raised.value.code == "epoch-ahead"


def test_sums_stay_within_53_bits():
    with pytest.raises(Refusal) as raised:
        VISITS.admit([0, 2**53 - 1], [0, 1], AT)
    assert raised.value.code == "out-of-range"


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"add": 1, "reset": 1},
        {"epoch": 1},
        {"reset": 1, "epoch": 1},
        {"add": 1.0},
        {"add": True},
        {"add": DELTA_MAX + 1},
        {"reset": EPOCH_MAX + 1},
        {"reset": -1},
        [1],
        [1, 2, 3],
        1,
        None,
    ],
)
def test_bad_payloads(payload):
    with pytest.raises(FieldError):
        VISITS.parse(payload)


def test_sums_may_fill_their_53_bits_and_closed_epochs_are_not_counted():
    largest = 2**53 - 1
    assert VISITS.admit([0, largest - 1], [0, 1], AT) == [0, 1]
    assert VISITS.admit([0, -largest + 1], [0, -1], AT) == [0, -1]
    assert VISITS.admit([1, largest], [0, 1], AT) == [0, 1]
    assert VISITS.admit([0, largest], [1, 0], AT) == [1, 0]
    assert VISITS.admit(None, [1, 0], AT) == [1, 0]
    with pytest.raises(Refusal):
        VISITS.admit(None, [1, 1], AT)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"epoch": 1}, "wrong-keys"),
        ({"add": 1, "more": 1}, "unknown-key"),
        ([1], "wrong-type"),
        ([1, 2, 3], "too-many"),
    ],
)
def test_what_is_wrong_is_told(payload, code):
    with pytest.raises(FieldError) as raised:
        VISITS.parse(payload)
    assert raised.value.code == code


def test_a_parsed_payload_parses_to_itself():
    assert VISITS.parse([2, -4]) == [2, -4]
    assert VISITS.proposed([2, -4]) == -4


def test_deltas_are_bounded_on_both_sides():
    for delta in (DELTA_MAX, -DELTA_MAX):
        assert VISITS.parse({"add": delta}) == [0, delta]
        with pytest.raises(FieldError):
            VISITS.parse({"add": delta + (1 if delta > 0 else -1)})


def test_before_any_write_the_sum_is_zero():
    for total in (2**53 - 1, -(2**53) + 1):
        assert VISITS.admit(None, [0, total], AT) == [0, total]
