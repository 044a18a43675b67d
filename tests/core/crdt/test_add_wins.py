"""Add-wins set."""

import pytest

from core.crdt.add_wins import AddWins
from core.crdt.field import Write
from core.errors import DeclarationError, FieldError, Refusal
from core.ids import PRIMARY

TAGS = AddWins(str)


def added(element, *, n, counter):
    return TAGS.delta(TAGS.parse({"add": [element]}), Write(1, n, counter))


def removed(element, seen, *, n, counter):
    return TAGS.delta(TAGS.parse({"remove": {element: seen}}), Write(1, n, counter))


def test_an_add_survives_a_concurrent_remove():
    first = added("wet", n=2, counter=1)
    again = added("wet", n=3, counter=1)
    removal = removed("wet", TAGS.dots(first, "wet"), n=4, counter=1)
    assert TAGS.value(TAGS.merge(first, removal)) == frozenset()
    assert TAGS.value(TAGS.merge(TAGS.merge(first, removal), again)) == {"wet"}


def test_a_remove_that_arrives_first_still_removes():
    first = added("wet", n=2, counter=1)
    removal = removed("wet", [[2, 1]], n=3, counter=1)
    assert TAGS.merge(removal, first) == [["wet", 2, 1, 1]] == TAGS.merge(first, removal)


def test_an_offline_device_removes_its_own_add_before_it_knows_its_number():
    own = added("wet", n=7, counter=3)
    assert removed("wet", [[0, 3]], n=7, counter=4) == [["wet", 7, 0, 3]]
    assert TAGS.value(TAGS.merge(own, removed("wet", [[0, 3]], n=7, counter=4))) == frozenset()


def test_states_are_sorted_by_code_point():
    both = TAGS.parse({"add": ["\uffff", "\U0001f600", "a", "B"]})
    assert [entry[0] for entry in TAGS.delta(both, Write(1, 2, 1)) or ()] == [
        "B",
        "a",
        "\uffff",
        "\U0001f600",
    ]


def test_nothing_asked_is_nothing_written():
    assert TAGS.delta(TAGS.parse({"add": [], "remove": {"a": []}}), Write(1, 2, 1)) is None


def test_a_remove_cannot_destroy_what_its_author_cannot_have_seen():
    before = added("wet", n=2, counter=3)
    poison = TAGS.parse({"remove": {"wet": [[2, 2**53 - 1]], "dry": [[2, 9]]}})
    delta = TAGS.admit(before, poison, Write(1, 5, 1))
    assert delta == [["wet", 2, 0, 3]]


def test_a_full_set_refuses_adds_and_takes_removes():
    small = AddWins(str, entries_max=1)
    before = [["a", 2, 1, 0]]
    with pytest.raises(Refusal) as raised:
        small.admit(before, {"add": ["b"], "remove": {}}, Write(1, 2, 2))
    assert raised.value.code == "field-full"
    assert small.admit(before, {"add": [], "remove": {"a": [[2, 1]]}}, Write(1, 3, 1))


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"add": ["a"], "remove": {"a": [[2, 1]]}}, "ambiguous"),
        ({"add": ["x" * 257]}, "too-long"),
        ({"remove": {"x" * 257: []}}, "too-long"),
        ({"add": "a"}, "wrong-type"),
        ({"add": [["a"]]}, "wrong-type"),
        ({"remove": ["a"]}, "wrong-type"),
        ({"plus": ["a"]}, "unknown-key"),
        ({"add": ["a"] * 1_001}, "too-many"),
        ({"remove": {str(i): [] for i in range(1_001)}}, "too-many"),
    ],
)
def test_bad_payloads(payload, code):
    with pytest.raises(FieldError) as raised:
        TAGS.parse(payload)
    assert raised.value.code == code


def test_the_primary_removes_what_there_is_without_naming_dots():
    before = [["wet", 2, 3, 0], ["wet", 3, 1, 1], ["dry", 2, 4, 0]]
    blind = TAGS.parse({"remove": {"wet": []}})
    assert TAGS.admit(before, blind, Write(1, PRIMARY, 1)) == [["wet", 2, 0, 3]]
    assert TAGS.admit(before, blind, Write(1, 5, 1)) is None
    named = TAGS.parse({"remove": {"wet": [[2, 1]]}})
    assert TAGS.admit(before, named, Write(1, PRIMARY, 1)) == [["wet", 2, 0, 1]]


def test_bad_declarations():
    with pytest.raises(DeclarationError):
        AddWins(str, entries_max=0)
    with pytest.raises(DeclarationError):
        AddWins(int)  # pyright: ignore[reportArgumentType]


def test_other_elements_dots_are_not_ones_own():
    state = [["dry", 2, 1, 0], ["wet", 2, 3, 0], ["wet", 3, 4, 4]]
    assert TAGS.dots(state, "wet") == [[2, 3]]
    assert TAGS.dots(None, "wet") == []


def test_a_set_that_was_never_written_takes_what_comes():
    payload = TAGS.parse({"add": ["wet"], "remove": {"dry": [[2, 1]]}})
    assert TAGS.admit(None, payload, Write(1, 3, 4)) == [["wet", 3, 4, 0]]


def test_as_many_elements_are_removed_at_once_as_the_set_holds():
    small = AddWins(str, entries_max=2)
    assert small.parse({"remove": {"a": [], "b": []}})
    with pytest.raises(FieldError) as raised:
        small.parse({"remove": {"a": [], "b": [], "c": []}})
    assert raised.value.code == "too-many"
