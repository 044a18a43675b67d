"""Append-only log."""

import pytest

from core.crdt.append_only import AppendOnly
from core.crdt.field import Write
from core.errors import DeclarationError, FieldError, Refusal

LOG = AppendOnly(str)


def test_entries_are_shown_in_stamp_order_once():
    late = LOG.delta(LOG.parse({"append": ["c", "d"]}), Write(6, 2, 1))
    early = LOG.delta(LOG.parse({"append": ["a"]}), Write(5, 3, 1))
    tied = LOG.delta(LOG.parse({"append": ["e"]}), Write(6, 3, 2))
    state = LOG.merge(LOG.merge(late, early), LOG.merge(tied, late))
    assert LOG.value(state) == ("a", "c", "d", "e")


def test_equal_values_are_separate_entries():
    assert LOG.delta({"append": ["a", "a"]}, Write(5, 2, 7)) == [
        [5, 2, 7, 0, "a"],
        [5, 2, 7, 1, "a"],
    ]


def test_values_are_never_compared():
    anything = AppendOnly(object)
    assert anything.merge([[5, 2, 1, 0, {}]], [[5, 2, 1, 1, 3]]) == [
        [5, 2, 1, 0, {}],
        [5, 2, 1, 1, 3],
    ]


def test_a_full_log_refuses():
    with pytest.raises(Refusal) as raised:
        AppendOnly(str, entries_max=2).admit(
            [[5, 2, 1, 0, "a"]], {"append": ["b", "c"]}, Write(6, 2, 2)
        )
    assert raised.value.code == "field-full"


@pytest.mark.parametrize(
    "payload", [{}, {"append": "a"}, {"append": [1]}, {"append": ["a"] * 1_001}, {"add": []}, []]
)
def test_bad_payloads(payload):
    with pytest.raises(FieldError):
        LOG.parse(payload)


def test_a_log_has_room_for_something():
    assert AppendOnly(str, entries_max=1).admit(None, {"append": ["a"]}, Write(5, 2, 1))
    with pytest.raises(DeclarationError):
        AppendOnly(str, entries_max=0)


def test_entries_of_two_devices_are_two_even_when_all_else_is_equal():
    assert LOG.merge([[5, 2, 1, 0, "a"]], [[5, 3, 1, 0, "b"]]) == [
        [5, 2, 1, 0, "a"],
        [5, 3, 1, 0, "b"],
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([4, 9, 9, 9, "a"], [5, 2, 1, 0, "b"]),
        ([5, 2, 9, 9, "a"], [5, 3, 1, 0, "b"]),
        ([5, 2, 1, 9, "a"], [5, 2, 2, 0, "b"]),
        ([5, 2, 1, 0, "b"], [5, 2, 1, 1, "a"]),
    ],
)
def test_entries_stand_by_time_device_counter_and_place(first, second):
    assert LOG.merge([second], [first]) == LOG.merge([first], [second]) == [first, second]


@pytest.mark.parametrize(
    ("payload", "code"), [({}, "wrong-keys"), ({"add": []}, "unknown-key"), ([], "wrong-type")]
)
def test_what_is_wrong_is_told(payload, code):
    with pytest.raises(FieldError) as raised:
        LOG.parse(payload)
    assert raised.value.code == code
