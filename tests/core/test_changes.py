"""A change tells what it proposes, and can be copied like any other value."""

import copy
import pickle

import pytest

from core import Change, Lww, Operation, RowId, SpaceId

TITLE = Lww.optional(str)
TITLE.name = "title"


def change(**fields):
    made = Change("item", RowId("i1"), Operation.EDIT, SpaceId("north"), fields)
    made.proposals = {"title": TITLE}
    return made


def test_a_proposed_value_is_an_attribute():
    assert change(title="a").title == "a"
    assert change().title is None
    assert "title" in change(title=None)
    with pytest.raises(AttributeError, match="price"):
        _ = change().price


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_a_change_is_copied(copied):
    made = copied(change(title="a"))
    assert (made.row, made.fields, made.title) == ("i1", {"title": "a"}, "a")


def test_a_change_is_pickled():
    made = change(title="a")
    made.proposals = {}
    assert pickle.loads(pickle.dumps(made)) == made
