"""List order and its fractional indexes."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.crdt.list_order import (
    ALPHABET,
    INDEX_LENGTH_MAX,
    JITTER_BITS,
    ListOrder,
    Place,
    between,
    rebalanced,
)
from core.errors import DeclarationError, FieldError

INDEXES = st.text(ALPHABET, min_size=1, max_size=12).filter(lambda text: not text.endswith("0"))
JITTERS = st.integers(0, 2**JITTER_BITS - 1) | st.sampled_from([0, 2**JITTER_BITS - 1, 2**80])


def test_alphabet_is_in_ascii_order():
    assert list(ALPHABET) == sorted(ALPHABET)
    assert len(set(ALPHABET)) == 62
    assert JITTER_BITS >= 30


@given(INDEXES, INDEXES, JITTERS)
def test_between_two_is_strictly_between(a, b, jitter):
    left, right = sorted((a, b))
    if left == right:
        with pytest.raises(FieldError, match="bad-order"):
            between(left, right, jitter)
    else:
        assert left < between(left, right, jitter) < right
    assert between(None, a, jitter) < a < between(a, None, jitter)


@given(INDEXES, JITTERS)
def test_the_narrowest_gaps_have_room(index, jitter):
    assert index < between(index, index + "01", jitter) < index + "01"
    assert index < between(index, index + "1", jitter) < index + "1"


@pytest.mark.parametrize("pattern", ["downwards", "upwards", "both"])
def test_five_thousand_inserts_into_one_gap(pattern):
    entropy = random.Random(7)
    left, right = between(None, None, 1), between(between(None, None, 1), None, 1)
    longest = 0
    for _ in range(5_000):
        index = between(left, right, entropy.getrandbits(JITTER_BITS))
        assert left < index < right
        longest = max(longest, len(index))
        if pattern == "upwards" or (pattern == "both" and entropy.random() < 0.5):
            left = index
        else:
            right = index
    assert longest <= INDEX_LENGTH_MAX


def test_an_exhausted_gap_says_so():
    with pytest.raises(FieldError, match="too-long"):
        between("1" * INDEX_LENGTH_MAX, "1" * (INDEX_LENGTH_MAX - 1) + "2", 0)


@pytest.mark.parametrize("end", ["first", "last"])
def test_indexes_at_the_ends_stay_short(end):
    index = between(None, None, 0)
    for jitter in range(5_000):
        index = between(index, None, jitter) if end == "last" else between(None, index, jitter)
    assert len(index) <= 8


def test_concurrent_inserts_into_one_gap_are_distinct():
    entropy = random.Random(11)
    made = {between("a", "b", entropy.getrandbits(JITTER_BITS)) for _ in range(5_000)}
    assert len(made) == 5_000


def test_jitter_decides_alone():
    assert between("a", "b", 5) == between("a", "b", 5) != between("a", "b", 6)


@pytest.mark.parametrize("count", [0, 1, 2, 1_000, 100_000])
def test_rebalanced_indexes_are_ordered_and_roomy(count):
    indexes = rebalanced(count)
    assert len(indexes) == count
    assert all(left < right for left, right in pairwise(indexes))
    for left, right in list(pairwise([None, *indexes, None]))[:3]:
        middle = between(left, right, 3)
        assert left is None or left < middle
        assert right is None or middle < right
    ListOrder().parse({"parent": None, "index": indexes[-1] if indexes else "1"})


def test_too_many_are_not_rebalanced():
    with pytest.raises(DeclarationError):
        rebalanced(100_001)


def test_the_latest_move_wins_whole():
    order = ListOrder()
    early, late = [5, 2, {"index": "V", "parent": "a"}], [6, 2, {"index": "k", "parent": None}]
    assert order.merge(late, early) == late
    assert order.value(late) == Place(parent=None, index="k")
    assert order.proposed(order.parse({"parent": "a", "index": "V"})) == Place("a", "V")


@pytest.mark.parametrize(
    "payload",
    [{"parent": None}, {"index": "V"}, {"parent": 3, "index": "V"}, {"parent": "", "index": "V"}]
    + [{"parent": None, "index": bad} for bad in ("", "a0", "é", "-", None, "1" * 1_025, [])]
    + [None, "V", []],
)
def test_bad_payloads(payload):
    with pytest.raises(FieldError):
        ListOrder().parse(payload)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"parent": None}, "wrong-keys"),
        ({"parent": "a b", "index": "V"}, "bad-id"),
        ({"parent": None, "index": "a0"}, "bad-index"),
        ({"parent": None, "index": "V-"}, "bad-index"),
        ({"parent": None, "place": "V"}, "unknown-key"),
    ],
)
def test_what_is_wrong_is_told(payload, code):
    with pytest.raises(FieldError) as raised:
        ListOrder().parse(payload)
    assert raised.value.code == code


def test_indexes_the_wrong_way_round_are_told():
    for left, right in (("b", "a"), ("a", "a")):
        with pytest.raises(FieldError) as raised:
            between(left, right, 0)
        assert raised.value.code == "bad-order"


def test_a_gap_that_is_used_up_is_told():
    with pytest.raises(FieldError) as raised:
        between("1" * INDEX_LENGTH_MAX, "1" * (INDEX_LENGTH_MAX - 1) + "2", 0)
    assert raised.value.code == "too-long"


def test_one_item_alone_stands_in_the_middle():
    assert rebalanced(1) == ["V"]
    with pytest.raises(DeclarationError):
        rebalanced(-1)


@pytest.mark.parametrize("left", [None, "1", "y", "zzzzzzzz", "zzzzzzzzz"])
def test_the_greatest_jitter_stays_within_an_open_gap(left):
    greatest = 2**JITTER_BITS - 1
    index = between(left, None, greatest)
    assert (left or "") < between(left, None, 0) < index
    assert between(None, index, greatest) < between(None, index, 0) < index


def test_indexes_at_the_ends_have_eight_characters():
    assert {len(between(left, right, 5)) for left, right in ((None, None), ("a", None))} == {8}
    assert len(between(None, "a", 5)) == 8


def test_an_item_between_two_others_stands_around_the_middle():
    assert between("a", "c", 2 ** (JITTER_BITS - 1)) == "b"
    assert "ax" < between("a", "c", 0) < "b" < between("a", "c", 2**JITTER_BITS - 1) < "b3"


def test_the_longest_index_has_as_many_characters_as_may_be():
    prefix = "1" * (INDEX_LENGTH_MAX - 8)
    assert len(between(prefix + "1", prefix + "2", 1)) == INDEX_LENGTH_MAX
    with pytest.raises(FieldError):
        between(prefix + "11", prefix + "12", 1)
