"""Group: several values under one stamp."""

from dataclasses import dataclass
from typing import Any

import pytest

from core.crdt.group import Group
from core.errors import DeclarationError, FieldError

UNTYPED: Any = Group
"""Declared wrongly on purpose, where pyright would object."""


@dataclass(frozen=True)
class Point:
    lon: float
    lat: float


@dataclass
class Mutable:
    lat: float


def test_members_move_together():
    position = Group(Point)
    here, there = [5, 2, {"lat": 1.0, "lon": 2.0}], [5, 3, {"lat": 3.0, "lon": 4.0}]
    assert position.merge(here, there) == there == position.merge(there, here)
    assert position.value(there) == Point(lat=3.0, lon=4.0)
    assert position.value(None) is None


def test_payload_is_canonical_and_proposed_as_the_record():
    position = Group(Point)
    parsed = position.parse({"lon": 2, "lat": 1})
    assert list(parsed.items()) == [("lat", 1.0), ("lon", 2.0)]
    assert position.proposed(parsed) == Point(lat=1.0, lon=2.0)


def test_declared_by_keywords():
    price = Group(amount=int, currency=str)
    assert price.value([1, 2, {"amount": 3, "currency": "EUR"}]).currency == "EUR"
    assert list(price.describe()["members"]) == ["amount", "currency"]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"lat": 1.0}, "wrong-keys"),
        ({"lat": 1.0, "lon": 1.0, "alt": 1.0}, "wrong-keys"),
        ({"lat": 1.0, "lon": None}, "wrong-type"),
        ([1.0, 2.0], "wrong-type"),
        ({"lat": 1.0, 2: 1.0}, "unknown-key"),
    ],
)
def test_bad_payloads(payload, code):
    with pytest.raises(FieldError) as raised:
        Group(Point).parse(payload)
    assert raised.value.code == code


@pytest.mark.parametrize(
    "declare",
    [
        UNTYPED,
        lambda: UNTYPED(Mutable),
        lambda: UNTYPED(Point, lat=float),
        lambda: UNTYPED(lat=list),
        lambda: UNTYPED(Lat=float),
        lambda: UNTYPED(**{"class": str}),
        lambda: UNTYPED(int),
        lambda: UNTYPED(**{f"m{i}": int for i in range(21)}),
    ],
)
def test_bad_declarations(declare):
    with pytest.raises(DeclarationError):
        declare()


@pytest.mark.parametrize("members", [{"class": str}, {"lat": float, "not a name": int}])
def test_what_cannot_be_a_member_is_a_wrong_declaration(members):
    with pytest.raises(DeclarationError, match="members of a group"):
        UNTYPED(**members)


def test_a_record_has_members():
    with pytest.raises(DeclarationError, match="without members"):
        UNTYPED(dataclass(frozen=True)(type("Nothing", (), {})))


def test_a_record_is_a_class_and_not_an_instance():
    with pytest.raises(DeclarationError, match="frozen dataclass"):
        UNTYPED(Point(lon=1.0, lat=2.0))


def test_a_group_has_up_to_twenty_members():
    assert len(UNTYPED(**{f"m{i}": int for i in range(20)}).describe()["members"]) == 20


@pytest.mark.parametrize("names", [["Lat"], ["lat", "Lon"], ["lat", "lo__n"]])
def test_members_have_names_that_fit_into_sql(names):
    with pytest.raises(DeclarationError, match="lower-case member names"):
        UNTYPED(**dict.fromkeys(names, float))


def test_members_of_a_record_have_names_too():
    record = type("Record", (), {"__annotations__": {"lat": float, "Lon": float}})
    with pytest.raises(DeclarationError, match="lower-case member names"):
        UNTYPED(dataclass(frozen=True)(record))


def test_nobody_changes_a_record():
    price = Group(amount=int).proposed({"amount": 3})
    with pytest.raises(AttributeError):
        price.amount = 4
    assert not hasattr(price, "__dict__")
