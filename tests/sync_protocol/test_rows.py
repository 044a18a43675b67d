"""The canonical row: one row has one encoding, and garbage has none."""

import math
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ids import INTEGER_MAX
from sync_protocol import limits
from sync_protocol.errors import MalformedMessage
from sync_protocol.rows import check_value, decode_row, encode_row
from tests.sync_protocol.samples import ALIVE, CANONICAL_ROW, FIELDS, ROW

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-INTEGER_MAX, INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
STATES = st.dictionaries(
    st.text("abc_", min_size=1, max_size=5), st.lists(JSON, max_size=4), max_size=4
)


def packed(*row: object) -> bytes:
    return msgspec.msgpack.encode(row)


@given(fields=STATES, alive=st.tuples(st.integers(0, 9), st.integers(0, 9), st.booleans()))
def test_rows_come_back_as_they_were_sent(fields, alive):
    encoded = encode_row("row-1", alive, fields)
    assert decode_row(encoded) == ("row-1", alive, fields)
    assert encode_row(*decode_row(encoded)) == encoded


@given(fields=STATES)
def test_the_order_of_keys_does_not_matter(fields):
    def turned(value):
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(item) for item in value] if isinstance(value, list) else value

    assert encode_row("r", ALIVE, turned(fields)) == encode_row("r", ALIVE, fields)


def test_bytes_are_minimal_and_sorted():
    row = encode_row("r", (1, 2, True), {"b": [1.0, 300], "a": [{"y": 1, "x": 2}], "c": None})
    assert row.hex(" ") == (
        "93 a1 72 93 01 02 c3 82 a1 61 91 82 a1 78 02 a1 79 01 a1 62 92"
        " cb 3f f0 00 00 00 00 00 00 cd 01 2c"
    )


def test_fields_never_written_are_left_out():
    assert "gone" not in decode_row(CANONICAL_ROW)[2]
    assert decode_row(CANONICAL_ROW)[2] == {k: v for k, v in FIELDS.items() if v is not None}


def test_a_row_is_read_from_a_slice_too():
    assert decode_row(msgspec.Raw(CANONICAL_ROW))[0] == ROW


@pytest.mark.parametrize(
    "row",
    [
        b"",
        b"\xc1",
        CANONICAL_ROW[:-1],
        CANONICAL_ROW + b"\x00",
        packed("r", [1, 2, True]),
        packed("", [1, 2, True], {}),
        packed("r" * 65, [1, 2, True], {}),
        packed("r", [1, 2], {}),
        packed("r", [1, 2, 1], {}),
        packed("r", [-1, 2, True], {}),
        packed("r", [2**53, 2, True], {}),
        packed("r", [1, 2**32, True], {}),
        packed("r", [1, 2, True], {"a": None}),
        packed("r", [1, 2, True], {"a": {"x": 1}}),
        packed("r", [1, 2, True], {"a": [b"binary"]}),
        packed("r", [1, 2, True], {"a": [[[b"binary"]]]}),
        packed("r", [1, 2, True], {"a": [2**53]}),
        packed("r", [1, 2, True], {"a": [-(2**53)]}),
        packed("r", [1, 2, True], {"a": [[[[2**60]]]]}),
        packed("r", [1, 2, True], {"a": [math.nan]}),
        packed("r", [1, 2, True], {"a": [[math.inf]]}),
        packed("r", [1, 2, True], {"a": [[[{"x": math.inf}]]]}),
        packed("r", [1, 2, True], {"a": [{1: 2}]}),
        packed("r", [1, 2, True], {"a": [msgspec.msgpack.Ext(5, b"x")]}),
        packed("r", [1, 2, True], {"a": [msgspec.msgpack.Ext(-1, b"\0\0\0\0")]}),
        packed("r", [1, 2, True], {"a": [[[[msgspec.msgpack.Ext(-1, b"\0\0\0\0")]]]]}),
        b"\x93\xa1r\x93\x01\x02\xc3\x81\xa1a\x91\xa1\xff",
        b"\x91" * 100_000,
    ],
)
def test_garbage_is_malformed(row):
    with pytest.raises(MalformedMessage):
        decode_row(row)


@pytest.mark.parametrize("value", [2**53 - 1, 1 - 2**53])
def test_integers_have_53_bits(value):
    assert decode_row(packed("r", [1, 2, True], {"a": [value]}))[2] == {"a": [value]}
    check_value([value])
    with pytest.raises(MalformedMessage, match="53 bits"):
        check_value([value + (1 if value > 0 else -1)])


@pytest.mark.parametrize(
    ("levels", "is_allowed"), [(27, True), (28, True), (29, True), (30, False)]
)
def test_nesting_ends_at_the_limit(levels, is_allowed):
    value: object = 1
    for _ in range(levels):
        value = [value]
    row = packed("r", [1, 2, True], {"a": [value]})
    if is_allowed:
        decode_row(row)
    else:
        with pytest.raises(MalformedMessage, match="nested deeper than 32"):
            decode_row(row)


def test_lone_surrogates_are_refused():
    for value in ("\ud800", {"\ud800": 1}, ["é", "\udfff"]):
        with pytest.raises(MalformedMessage, match="surrogate"):
            check_value(value)


def test_both_directions_are_fast_enough_for_a_bootstrap():
    start = time.perf_counter()
    for _ in range(20_000):
        encode_row(*decode_row(CANONICAL_ROW))
    assert 20_000 / (time.perf_counter() - start) > 50_000


@pytest.mark.parametrize("around", [0, 3])
def test_values_nest_as_deep_as_the_limit_less_what_surrounds_them(around):
    value: object = 1
    for _ in range(limits.NESTING_MAX - around):
        value = [value]
    check_value(value, depth=around) if around else check_value(value)
    with pytest.raises(MalformedMessage, match="nested deeper"):
        check_value([value], depth=around) if around else check_value([value])
