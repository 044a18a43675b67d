"""Enable-wins flag."""

import pytest

from core.crdt.field import Write
from core.crdt.flag import Flag
from core.errors import DeclarationError, FieldError, Refusal
from core.ids import PRIMARY

FLAG = Flag()


def test_on_survives_a_concurrent_off():
    on_2, on_3 = FLAG.delta({"on": True}, Write(1, 2, 1)), FLAG.delta({"on": True}, Write(1, 3, 1))
    off = FLAG.delta({"off": FLAG.dots(on_2)}, Write(2, 4, 1))
    assert FLAG.value(on_2)
    assert not FLAG.value(FLAG.merge(on_2, off))
    assert FLAG.value(FLAG.merge(FLAG.merge(off, on_3), on_2))


def test_turning_on_again_is_a_new_dot():
    state = FLAG.merge([[2, 1, 1]], FLAG.delta({"on": True}, Write(9, 2, 5)))
    assert state == [[2, 5, 1]]
    assert FLAG.value(state)


def test_both_sides_of_a_merge_count():
    assert (
        FLAG.merge([[2, 1, 0]], [[2, 5, 3]]) == [[2, 5, 3]] == FLAG.merge([[2, 5, 3]], [[2, 1, 0]])
    )
    assert FLAG.merge([[2, 5, 3]], [[2, 1, 4]]) == [[2, 5, 4]]


def test_off_without_dots_writes_nothing():
    assert FLAG.delta(FLAG.parse({"off": []}), Write(1, 2, 1)) is None
    assert FLAG.value(None) is False


def test_rules_see_a_bool():
    assert FLAG.proposed({"on": True}) is True
    assert FLAG.proposed({"off": []}) is False


def test_off_is_cut_to_what_can_have_been_seen():
    assert FLAG.admit([[2, 3, 0]], {"off": [[0, 9], [2, 99]]}, Write(1, 4, 1)) == [[2, 0, 3]]


def test_too_many_devices_are_refused():
    with pytest.raises(Refusal):
        Flag(entries_max=1).admit([[2, 1, 0]], {"on": True}, Write(1, 3, 1))


@pytest.mark.parametrize(
    "payload", [{}, {"on": False}, {"on": 1}, {"on": True, "off": []}, {"off": True}, True, None]
)
def test_bad_payloads(payload):
    with pytest.raises(FieldError):
        FLAG.parse(payload)


def test_the_primary_turns_off_what_there_is_without_naming_dots():
    before = [[2, 3, 0], [3, 1, 1]]
    assert FLAG.admit(before, {"off": []}, Write(1, PRIMARY, 1)) == [[2, 0, 3]]
    assert FLAG.admit(before, {"off": []}, Write(1, 4, 1)) is None
    assert FLAG.admit(before, {"off": [[2, 1]]}, Write(1, PRIMARY, 1)) == [[2, 0, 1]]


@pytest.mark.parametrize(
    ("payload", "code"),
    [({}, "wrong-keys"), ({"on": False}, "wrong-type"), ({"to": 1}, "unknown-key")],
)
def test_what_is_wrong_is_told(payload, code):
    with pytest.raises(FieldError) as raised:
        FLAG.parse(payload)
    assert raised.value.code == code


def test_a_flag_has_room_for_a_device():
    assert Flag(entries_max=1).admit(None, {"on": True}, Write(1, 3, 1))
    with pytest.raises(DeclarationError):
        Flag(entries_max=0)


def test_dots_are_written_in_the_order_of_devices():
    assert FLAG.delta({"off": [[0, 5], [2, 1]]}, Write(1, 7, 6)) == [[2, 0, 1], [7, 0, 5]]
    assert FLAG.dots(None) == []
