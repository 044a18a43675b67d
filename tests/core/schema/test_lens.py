"""Lenses between schema versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import App, Lens
from core.errors import DeclarationError, FieldError

RENAMED = Lens("note", below=1, renamed={"name": "title"})
CENTS = Lens(
    "note",
    below=2,
    renamed={"price": "cents"},
    up={"cents": lambda euros: euros * 100},
    down={"cents": lambda cents: cents // 100},
)


@given(st.dictionaries(st.sampled_from(["name", "price", "other"]), st.integers(0, 99)))
def test_what_is_raised_and_lowered_is_what_was_written(payloads):
    raised = CENTS.raise_payloads(RENAMED.raise_payloads(payloads))
    states = {name: [5, 2, value] for name, value in raised.items()}
    lowered = RENAMED.lower_states(CENTS.lower_states(states))
    assert lowered == {name: [5, 2, value] for name, value in payloads.items()}


def test_values_are_converted_under_their_new_name():
    assert CENTS.raise_payloads({"price": 3, "kept": "x"}) == {"cents": 300, "kept": "x"}
    assert CENTS.raise_names({"price": 7, "kept": 1}) == {"cents": 7, "kept": 1}


def test_stamps_and_unknown_fields_are_preserved():
    states = {"cents": [5, 2, 300], "tags": [["a", 2, 1, 0]]}
    assert CENTS.lower_states(states) == {"price": [5, 2, 3], "tags": [["a", 2, 1, 0]]}


def test_two_fields_cannot_become_one():
    with pytest.raises(DeclarationError):
        Lens("note", below=1, renamed={"a": "c", "b": "c"})


def test_an_app_finds_the_lenses_above_a_version():
    app = App("app", version=3, spaces={"team": ["owner"]})
    app.lens(CENTS)
    app.lens(RENAMED)
    assert app.lenses_from("note", 1) == [RENAMED, CENTS]
    assert app.lenses_from("note", 2) == [CENTS]
    assert app.lenses_from("note", 3) == app.lenses_from("other", 1) == []
    for lens in (CENTS, Lens("note", below=3), Lens("note", below=0)):
        with pytest.raises(DeclarationError):
            app.lens(lens)


def test_a_custom_fields_base_is_converted_with_its_value():
    assert CENTS.raise_payloads({"price": {"base": 2, "value": 3}}) == {
        "cents": {"base": 200, "value": 300}
    }
    assert CENTS.raise_payloads({"price": {"base": None, "value": 3}}) == {
        "cents": {"base": None, "value": 300}
    }


@pytest.mark.parametrize("payload", [{"value": 3}, {"base": 2, "value": 3, "more": 4}, [1]])
def test_other_payloads_are_converted_whole(payload):
    lens = Lens("note", below=1, up={"shape": lambda value: ["converted", value]})
    assert lens.raise_payloads({"shape": payload}) == {"shape": ["converted", payload]}


def test_a_field_under_both_of_its_names_is_refused():
    with pytest.raises(FieldError) as raised:
        RENAMED.raise_payloads({"name": "a", "title": "b"})
    assert raised.value.code == "field-repeated"


def test_an_app_has_one_lens_between_two_versions():
    app = App("app", version=3, spaces={})
    app.lens(RENAMED)
    with pytest.raises(DeclarationError):
        app.lens(Lens("note", below=1))
