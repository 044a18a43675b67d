"""Last-writer-wins register."""

import pytest

from core.crdt.field import Write
from core.crdt.lww import Lww
from core.errors import DeclarationError, FieldError


def test_the_later_stamp_wins_and_ties_go_to_the_larger_device():
    title = Lww(str)
    early, late, tied = [5, 9, "z"], [6, 2, "a"], [6, 3, ""]
    assert title.merge(early, late) == late == title.merge(late, early)
    assert title.merge(late, tied) == tied == title.merge(tied, late)


def test_default_is_read_until_written():
    assert Lww(int, default=4).value(None) == 4
    assert Lww(str).value(None) == ""
    assert Lww.optional(str).value(None) is None
    assert Lww(bool).value([1, 2, True]) is True


def test_optional_takes_null_and_the_plain_one_does_not():
    assert Lww.optional(int).parse(None) is None
    assert Lww.optional(int, low=1).delta(3, Write(7, 2, 1)) == [7, 2, 3]
    with pytest.raises(FieldError, match="wrong-type"):
        Lww(int).parse(None)


@pytest.mark.parametrize(
    ("scalar", "name", "payload", "parsed"),
    [
        (str, "text", "é", "é"),
        (int, "integer", 3, 3),
        (float, "number", 3, 3.0),
        (bool, "flag", False, False),
        (object, "json", {"b": 1.0, "a": None}, {"a": None, "b": 1}),
    ],
)
def test_scalars(scalar, name, payload, parsed):
    field = Lww(scalar)
    assert field.scalar_name == name
    assert repr(field.parse(payload)) == repr(parsed)
    assert not field.is_nullable
    assert Lww.optional(scalar).is_nullable


@pytest.mark.parametrize(
    ("field", "payload", "code"),
    [
        (Lww(int), True, "wrong-type"),
        (Lww(int), 1.0, "wrong-type"),
        (Lww(int), 2**53, "out-of-range"),
        (Lww(int, low=0, high=9, default=0), 10, "out-of-range"),
        (Lww(float), float("nan"), "not-finite"),
        (Lww(float), 10**400, "out-of-range"),
        (Lww(bool), 1, "wrong-type"),
        (Lww(str, bytes_max=1), "é", "too-long"),
        (Lww(str), "\x00", "nul-character"),
        (Lww(str), "\ud800", "not-unicode"),
    ],
)
def test_bad_payloads(field, payload, code):
    with pytest.raises(FieldError) as raised:
        field.parse(payload)
    assert raised.value.code == code


@pytest.mark.parametrize(
    "declare",
    [
        lambda: Lww(list),
        lambda: Lww(int, bytes_max=3),
        lambda: Lww(str, low=1),
        lambda: Lww(int, low=5),
        lambda: Lww(int, low=5, high=4, default=5),
        lambda: Lww(str, default=3),
        lambda: Lww(str, bytes_max=0),
    ],
)
def test_bad_declarations(declare):
    with pytest.raises(DeclarationError):
        declare()


@pytest.mark.parametrize(
    ("declare", "reason"),
    [
        (lambda: Lww(int, low=5, high=4, default=5), "low is above high"),
        (lambda: Lww(str, low=1), "limits of numbers"),
        (lambda: Lww(int, low=0.5), "limit: "),
        (lambda: Lww(str, bytes_max=0), "positive limit"),
        (lambda: Lww(str, default=3), "default: "),
    ],
)
def test_the_first_thing_that_is_wrong_is_told(declare, reason):
    with pytest.raises(DeclarationError, match=reason):
        declare()


def test_limits_may_meet_and_text_may_have_one_byte():
    assert Lww(int, low=4, high=4, default=4).parse(4) == 4
    assert Lww(str, bytes_max=1).parse("a") == "a"


def test_a_json_value_is_not_null():
    with pytest.raises(FieldError) as raised:
        Lww(object).parse(None)
    assert raised.value.code == "wrong-type"


def test_one_limit_may_stand_alone():
    assert Lww(int, high=5).parse(-9) == -9
    assert Lww(int, low=-5).parse(9) == 9
    with pytest.raises(FieldError):
        Lww(int, high=5).parse(6)


def test_a_json_value_may_have_a_default():
    assert Lww(object, default={"a": 1}).value(None) == {"a": 1}
    assert Lww(object).value(None) is None


def test_an_optional_field_keeps_what_is_declared():
    number = Lww.optional(int, low=1, high=9, write=["lead"])
    assert number.write == {"lead"}
    assert number.describe() == {"scalar": "integer", "nullable": True, "low": 1, "high": 9}
    assert Lww.optional(str, bytes_max=2).describe()["bytes_max"] == 2
    for bad in (0, 10):
        with pytest.raises(FieldError):
            number.parse(bad)
