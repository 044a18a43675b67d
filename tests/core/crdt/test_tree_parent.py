"""Tree parent and its cycle check."""

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from core.crdt.tree_parent import TREE_DEPTH_MAX, TreeParent, closes_cycle
from core.errors import FieldError

NODES = st.sampled_from("abcdef")


def test_moving_under_oneself_or_a_descendant_closes_a_cycle():
    parents = {"b": "a", "c": "b"}
    assert closes_cycle("a", "a", parents)
    assert closes_cycle("a", "c", parents)
    assert closes_cycle("a", "c", parents.get)
    assert not closes_cycle("c", "a", parents)
    assert not closes_cycle("a", None, parents)
    assert not closes_cycle("a", "unknown", parents)


def test_a_chain_too_deep_counts_as_a_cycle():
    chain = {str(i): str(i + 1) for i in range(TREE_DEPTH_MAX - 1)}
    assert not closes_cycle("x", "0", chain)
    chain[str(TREE_DEPTH_MAX - 1)] = str(TREE_DEPTH_MAX)
    assert closes_cycle("x", "0", chain)
    assert closes_cycle("x", "a", {"a": "b", "b": "a"})


@given(st.lists(st.tuples(NODES, st.none() | NODES), max_size=30))
def test_trees_stay_acyclic(moves):
    parents: dict[str, str | None] = {}
    for row, parent in moves:
        if closes_cycle(row, parent, parents):
            event("refused")
            continue
        parents[row] = parent
        for start in parents:
            seen: set[str] = set()
            above: str | None = start
            while above is not None:
                assert above not in seen
                seen.add(above)
                above = parents.get(above)


def test_it_is_a_nullable_text_register():
    field = TreeParent()
    assert (field.scalar_name, field.is_nullable, field.value(None)) == ("text", True, None)
    assert field.parse(None) is None
    assert field.merge([5, 2, "a"], [5, 3, None]) == [5, 3, None]


@pytest.mark.parametrize("payload", ["", "a b", "x" * 65, 3, ["a"], True])
def test_bad_payloads(payload):
    with pytest.raises(FieldError):
        TreeParent().parse(payload)


def test_what_is_wrong_is_told():
    with pytest.raises(FieldError) as raised:
        TreeParent().parse("a b")
    assert raised.value.code == "bad-id"
