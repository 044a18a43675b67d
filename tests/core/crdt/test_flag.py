"""Enable-wins flag."""

import pytest

from core.crdt.field import Write
from core.crdt.flag import Flag
from core.errors import FieldError, Refusal

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
