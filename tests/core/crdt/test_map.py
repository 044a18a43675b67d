"""Map of last-writer-wins keys."""

import pytest

from core.crdt.field import Write
from core.crdt.map import Map
from core.errors import DeclarationError, FieldError, Refusal

PRICES = Map(int)


def test_keys_merge_by_themselves():
    left = PRICES.delta(PRICES.parse({"set": {"a": 1, "b": 2}}), Write(5, 2, 1))
    right = PRICES.delta(PRICES.parse({"set": {"b": 3}, "remove": ["c"]}), Write(5, 3, 1))
    merged = PRICES.merge(left, right)
    assert merged == [["a", 5, 2, 0, 1], ["b", 5, 3, 0, 3], ["c", 5, 3, 1, None]]
    assert PRICES.merge(right, left) == merged
    assert PRICES.value(merged) == {"a": 1, "b": 3}


def test_a_later_set_revives_a_removed_key():
    removed = PRICES.delta(PRICES.parse({"remove": ["a"]}), Write(5, 2, 1))
    again = PRICES.delta(PRICES.parse({"set": {"a": 0}}), Write(6, 2, 2))
    assert PRICES.value(PRICES.merge(again, removed)) == {"a": 0}


def test_a_full_map_refuses_new_keys_only():
    small = Map(int, entries_max=1)
    before = [["a", 1, 2, 0, 1]]
    assert small.admit(before, {"set": {}, "remove": ["a"]}, Write(2, 2, 2))
    with pytest.raises(Refusal):
        small.admit(before, {"set": {"b": 1}, "remove": []}, Write(2, 2, 2))


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"set": {"a": 1}, "remove": ["a"]}, "ambiguous"),
        ({"set": {"a": None}}, "wrong-type"),
        ({"set": {1: 1}}, "unknown-key"),
        ({"set": {"x" * 257: 1}}, "too-long"),
        ({"remove": [["a"]]}, "wrong-type"),
        ({"remove": ["x" * 257]}, "too-long"),
        ({"get": []}, "unknown-key"),
        ({"set": {str(i): 1 for i in range(1_001)}}, "too-many"),
    ],
)
def test_bad_payloads(payload, code):
    with pytest.raises(FieldError) as raised:
        PRICES.parse(payload)
    assert raised.value.code == code


def test_a_map_has_room_for_a_key():
    assert Map(int, entries_max=1).admit(None, {"set": {"a": 1}, "remove": []}, Write(1, 2, 1))
    with pytest.raises(DeclarationError):
        Map(int, entries_max=0)


def test_nothing_asked_is_nothing_written():
    assert PRICES.delta(PRICES.parse({}), Write(1, 2, 1)) is None
    assert PRICES.delta(PRICES.parse({"set": {"b": 1}, "remove": ["a"]}), Write(1, 2, 1)) == [
        ["a", 1, 2, 1, None],
        ["b", 1, 2, 0, 1],
    ]
