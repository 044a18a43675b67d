"""Multi-value register."""

import pytest

from core.crdt.field import Write
from core.crdt.multi_value import MultiValue
from core.errors import DeclarationError, FieldError, Refusal

REMARKS = MultiValue(str)


def written(value, *, at, seen=()):
    return REMARKS.delta(REMARKS.parse({"value": value, "seen": list(seen)}), at)


def test_concurrent_values_are_all_shown_in_stamp_order():
    late, early = written("late", at=Write(5, 2, 1)), written("early", at=Write(4, 3, 1))
    both = REMARKS.merge(late, early)
    assert REMARKS.value(both) == ("early", "late")
    resolved = REMARKS.merge(both, written("both", at=Write(6, 4, 1), seen=REMARKS.dots(both)))
    assert REMARKS.value(resolved) == ("both",)


def test_ties_are_ordered_by_device():
    both = REMARKS.merge(written("z", at=Write(5, 2, 1)), written("a", at=Write(5, 3, 1)))
    assert REMARKS.value(both) == ("z", "a")


def test_a_device_replaces_its_own_sibling_unseen():
    state = REMARKS.merge(written("one", at=Write(4, 2, 1)), written("two", at=Write(5, 2, 2)))
    assert state == [[2, 2, 0, 5, "two"]]


def test_the_dead_keep_no_value():
    removal = written("new", at=Write(5, 3, 1), seen=[[2, 4]])
    assert removal == [[2, 0, 4, 0, None], [3, 1, 0, 5, "new"]]
    assert written("new", at=Write(5, 3, 1), seen=[[9, 4]]) == [
        [3, 1, 0, 5, "new"],
        [9, 0, 4, 0, None],
    ]
    buried = REMARKS.merge(removal, written("old", at=Write(4, 2, 3)))
    assert buried == [[2, 3, 4, 0, None], [3, 1, 0, 5, "new"]]


def test_what_was_seen_exactly_is_buried():
    old, new = written("old", at=Write(4, 2, 4)), written("new", at=Write(5, 3, 1), seen=[[2, 4]])
    expected = [[2, 4, 4, 0, None], [3, 1, 0, 5, "new"]]
    assert REMARKS.merge(old, new) == expected == REMARKS.merge(new, old)


def test_a_resolver_cannot_bury_the_future():
    before = written("old", at=Write(4, 2, 3))
    delta = REMARKS.admit(before, {"value": "x", "seen": [[2, 99], [9, 9]]}, Write(5, 3, 1))
    assert delta == [[2, 0, 3, 0, None], [3, 1, 0, 5, "x"]]


def test_too_many_devices_are_refused():
    with pytest.raises(Refusal):
        MultiValue(str, entries_max=1).admit(
            written("a", at=Write(1, 2, 1)), {"value": "b", "seen": []}, Write(1, 3, 1)
        )


def test_unordered_values_never_break_the_order():
    anything = MultiValue(object)
    assert anything.value([[2, 1, 0, 5, {}], [3, 1, 0, 5, 3]]) == ({}, 3)


@pytest.mark.parametrize(
    "payload",
    [{}, {"seen": []}, {"value": 3}, {"value": "a", "seen": {}}, {"value": "a", "x": 1}, "a"],
)
def test_bad_payloads(payload):
    with pytest.raises(FieldError):
        REMARKS.parse(payload)


def test_a_register_has_room_for_a_device():
    first = Write(1, 2, 1)
    assert MultiValue(str, entries_max=1).admit(None, {"value": "a", "seen": []}, first)
    with pytest.raises(DeclarationError):
        MultiValue(str, entries_max=0)


@pytest.mark.parametrize(
    ("payload", "code"), [({"seen": []}, "wrong-keys"), ({"value": 3}, "wrong-type")]
)
def test_what_is_wrong_is_told(payload, code):
    with pytest.raises(FieldError) as raised:
        REMARKS.parse(payload)
    assert raised.value.code == code


def test_a_resolver_carries_devices_and_counters():
    state = REMARKS.merge(written("a", at=Write(5, 2, 9)), written("b", at=Write(5, 3, 1)))
    assert REMARKS.dots(state) == [[2, 9], [3, 1]]
    assert REMARKS.value(state) == ("a", "b"), "ties go by device, not by counter"
    assert REMARKS.dots(None) == []
