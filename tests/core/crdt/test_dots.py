"""Dots: what an observed remove has seen."""

import pytest

from core.crdt import dots
from core.errors import FieldError, Refusal


def test_only_the_latest_dot_of_a_device_counts():
    assert dots.parse_dots([[3, 1], [2, 7], [3, 4], [2, 5]], items_max=9) == [[2, 7], [3, 4]]


def test_zero_is_the_author():
    assert dots.resolve([[0, 4], [2, 9], [7, 6]], 7) == {7: 6, 2: 9}
    assert dots.resolve([[0, 8], [7, 6]], 7) == {7: 8}


def test_claims_are_cut_to_what_can_have_been_seen():
    claims = [[0, 99], [3, 99], [4, 2], [5, 1]]
    cut = dots.seen_at_most(claims, author=2, counter=6, known={3: 4, 4: 9})
    assert cut == [[2, 5], [3, 4], [4, 2]]


def test_only_growth_is_refused():
    dots.require_room(before=[1, 2, 3], after=[1, 2, 3], entries_max=2)
    with pytest.raises(Refusal):
        dots.require_room(before=[1, 2, 3], after=[1, 2, 3, 4], entries_max=2)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        [1],
        [[1]],
        [[1, 2, 3]],
        [[-1, 1]],
        [[2**32, 1]],
        [[1, 0]],
        [["1", 1]],
        [[1, 1]] * 9,
    ],
)
def test_bad_dots(payload):
    with pytest.raises(FieldError):
        dots.parse_dots(payload, items_max=8)


@pytest.mark.parametrize(
    ("payload", "code"),
    [([[1]], "wrong-type"), ([[1, 2, 3]], "too-many"), ([[1, 2**53]], "out-of-range")],
)
def test_what_is_wrong_is_told(payload, code):
    with pytest.raises(FieldError) as raised:
        dots.parse_dots(payload, items_max=8)
    assert raised.value.code == code


def test_what_was_seen_is_told_in_the_order_of_devices():
    cut = dots.seen_at_most([[0, 5], [2, 1]], author=7, counter=9, known={2: 4})
    assert cut == [[2, 1], [7, 5]]


def test_a_field_that_was_never_written_has_its_size_as_room():
    dots.require_room(before=None, after=[1, 2], entries_max=2)
    dots.require_room(before=None, after=None, entries_max=1)
    with pytest.raises(Refusal):
        dots.require_room(before=None, after=[1, 2, 3], entries_max=2)
