"""Scalars and JSON values."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import values
from core.errors import FieldError
from core.ids import INTEGER_MAX
from tests.laws import strategies


def code_of(check, value, **limits):
    with pytest.raises(FieldError) as raised:
        check(value, **limits)
    return raised.value.code


def test_text_is_measured_in_bytes():
    assert values.text("éé", bytes_max=4) == "éé"
    assert code_of(values.text, "éé", bytes_max=3) == "too-long"
    assert code_of(values.text, "a\x00") == "nul-character"
    assert code_of(values.text, "é\udfff") == "not-unicode"
    assert code_of(values.text, b"a") == "wrong-type"


def test_integers_are_exact_everywhere():
    assert values.integer(INTEGER_MAX) == INTEGER_MAX
    for bad in (INTEGER_MAX + 1, -INTEGER_MAX - 1, 10**5_000):
        assert code_of(values.integer, bad) == "out-of-range"
    for bad in (True, 1.0, "1", None):
        assert code_of(values.integer, bad) == "wrong-type"


def test_numbers_are_finite_floats():
    assert repr(values.number(3)) == "3.0"
    assert math.copysign(1, values.number(-0.0)) == 1
    assert code_of(values.number, math.nan) == "not-finite"
    assert code_of(values.number, -math.inf) == "not-finite"
    assert code_of(values.number, 2.5, low=3, high=4) == "out-of-range"
    assert code_of(values.number, 10**400) == "out-of-range"
    assert code_of(values.number, False) == "wrong-type"


def test_flags_are_not_numbers():
    assert values.flag(False) is False
    assert code_of(values.flag, 0) == "wrong-type"


def test_json_is_canonical():
    made = values.json({"b": [1.0, -0.0, 1.5, 1e300], "a": {"z": None, "é": True}})
    assert json.dumps(made, ensure_ascii=False) == (
        '{"a": {"z": null, "é": true}, "b": [1, 0, 1.5, 1e+300]}'
    )


@given(strategies.anything())
def test_json_is_a_fixed_point_or_a_field_error(value):
    try:
        once = values.json(value)
    except FieldError:
        return
    assert json.dumps(values.json(once)) == json.dumps(once)
    assert json.dumps(values.json(json.loads(json.dumps(once)))) == json.dumps(once)


def nested(depth):
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_json_is_bounded():
    assert values.json(nested(values.JSON_DEPTH_MAX)) == nested(values.JSON_DEPTH_MAX)
    assert code_of(values.json, nested(values.JSON_DEPTH_MAX + 1)) == "too-deep"
    assert code_of(values.json, nested(50_000)) == "too-deep"
    assert code_of(values.json, [0] * values.JSON_NODES_MAX) == "too-deep"
    assert code_of(values.json, {1: 1}) == "wrong-type"
    assert code_of(values.json, ["\x00"]) == "nul-character"
    assert code_of(values.json, {"\ud800": 1}) == "not-unicode"
    assert code_of(values.json, (1,)) == "wrong-type"


@given(st.lists(st.integers(0, 3), max_size=6))
def test_arrays_are_bounded(items):
    if len(items) > 3:
        assert code_of(values.array, items, items_max=3) == "too-many"
    else:
        assert values.array(items, items_max=3) == items


def test_mappings_have_known_text_keys():
    assert values.mapping({"a": 1}, keys=frozenset("ab")) == {"a": 1}
    assert code_of(values.mapping, {"c": 1}, keys=frozenset("ab")) == "unknown-key"
    assert code_of(values.mapping, {1: 1}) == "unknown-key"
    assert code_of(values.mapping, []) == "wrong-type"


def test_objects_are_as_deep_as_arrays():
    def deep(depth):
        value: object = 1
        for _ in range(depth):
            value = {"a": value}
        return value

    assert values.json(deep(values.JSON_DEPTH_MAX)) == deep(values.JSON_DEPTH_MAX)
    assert code_of(values.json, deep(values.JSON_DEPTH_MAX + 1)) == "too-deep"


def test_json_has_as_many_nodes_as_may_be():
    most = [0] * (values.JSON_NODES_MAX - 1)
    assert values.json(most) == most
    assert values.json([[], *most[2:]])
    assert code_of(values.json, [*most, 0]) == "too-deep"


@pytest.mark.parametrize(
    ("value", "kind"),
    [(float(INTEGER_MAX), int), (-float(INTEGER_MAX), int), (2.0**53, float), (0.5, float)],
)
def test_whole_floats_of_53_bits_become_integers(value, kind):
    assert type(values.json(value)) is kind
    assert values.json(value) == value


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "got null$"), (3, "got integer"), (b"", "got bytes"), ({}, "got dict")],
)
def test_what_was_sent_instead_is_named(value, words):
    with pytest.raises(FieldError, match=words):
        values.text(value)
