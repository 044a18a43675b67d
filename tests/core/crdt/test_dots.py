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
