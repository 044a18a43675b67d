"""Max and Min."""

from typing import Any

import pytest

from core.crdt.extremum import Max, Min
from core.errors import DeclarationError, FieldError


def test_the_extreme_stays():
    high, low = Max(int, low=0, high=9), Min(int, low=0, high=9)
    assert high.merge([3], [7]) == [7] == high.merge([7], [3])
    assert low.merge([3], [7]) == [3] == low.merge([7], [3])


def test_before_any_write_the_neutral_bound_is_read():
    assert Max(int, low=-2, high=9).value(None) == -2
    assert Min(int, low=-2, high=9).value(None) == 9
    assert Max(int, low=0, high=9, default=5).value(None) == 5


def test_ints_stay_ints_and_floats_become_floats():
    assert repr(Max(float, low=0, high=9).parse(3)) == "3.0"
    assert Max(float, low=0, high=9).scalar_name == "number"
    assert Min(int, low=0, high=9).scalar_name == "integer"
    with pytest.raises(FieldError, match="wrong-type"):
        Max(int, low=0, high=9).parse(3.0)


@pytest.mark.parametrize("poison", [10, -1, 2**60, True, None, "9"])
def test_poison_is_refused(poison):
    with pytest.raises(FieldError):
        Max(int, low=0, high=9).parse(poison)


def test_bounds_are_checked():
    untyped: Any = Max
    for declare in (
        lambda: Max(int, low=9, high=0),
        lambda: untyped(str, low="a", high="b"),
        lambda: Max(bool, low=False, high=True),
        lambda: Min(float, low=0.0, high=float("inf")),
    ):
        with pytest.raises(DeclarationError):
            declare()


def test_extremes_are_numbers():
    untyped: Any = Max
    with pytest.raises(DeclarationError, match="int or float"):
        untyped(str, low=None, high=None)
