"""First-writer-wins register."""

from core.crdt.first_write import FirstWrite
from core.crdt.lww import Lww


def test_the_smaller_stamp_wins_and_ties_go_to_the_smaller_device():
    author = FirstWrite(str)
    first, tied, later = [5, 2, "ann"], [5, 3, "bob"], [6, 1, "cy"]
    for other in (tied, later):
        assert author.merge(first, other) == first == author.merge(other, first)


def test_the_primary_stamps_it_at_receipt():
    assert FirstWrite.uses_receive_stamp
    assert not Lww.uses_receive_stamp


def test_it_is_a_register_of_a_scalar():
    assert FirstWrite(int).scalar_name == "integer"
    assert FirstWrite(int).parse(4) == 4
    assert FirstWrite(str).value(None) == ""
