"""Rows of a space: uncopied in MessagePack, rewritten for JSON without losing a byte."""

import time

import msgspec
import pytest
from hypothesis import given

from sync_protocol.errors import MalformedMessage
from sync_protocol.media import Media
from sync_protocol.messages.page import Rows
from sync_protocol.rows import encode_row
from sync_protocol.space_rows import (
    decode_space_rows,
    encode_space_rows,
    space_rows_from_json,
    space_rows_to_json,
)
from tests.sync_protocol.samples import ALIVE, CANONICAL_ROW, DIGEST, ROW, space_rows
from tests.sync_protocol.test_rows import STATES


def test_rows_are_the_canonical_bytes():
    decoded = decode_space_rows(space_rows())
    assert decoded.space == "region-1"
    assert [bytes(row) for row in decoded.collections["airfield"].rows] == [CANONICAL_ROW]


@given(fields=STATES)
def test_json_and_back_gives_the_same_bytes(fields):
    row = msgspec.Raw(encode_row(ROW, ALIVE, fields))
    held = encode_space_rows("s", {"c": Rows([7], [row], [DIGEST])})
    assert bytes(space_rows_from_json(space_rows_to_json(held))) == bytes(held)


def test_digests_are_base64_in_json():
    shown = msgspec.json.decode(space_rows_to_json(space_rows()))
    rows = shown["collections"]["airfield"]
    assert rows["hashes"] == ["AAECAwQFBgcICQoLDA0ODw=="]
    assert rows["rows"][0][0] == ROW


@pytest.mark.parametrize(
    "rows",
    [
        Rows([], [msgspec.Raw(CANONICAL_ROW)]),
        Rows([1], []),
        Rows([1], [msgspec.Raw(b"\0")], [DIGEST] * 2),
    ],
)
def test_columns_have_one_length(rows):
    with pytest.raises(MalformedMessage):
        decode_space_rows(encode_space_rows("s", {"c": rows}))


def test_garbage_rows_are_malformed_in_both_directions():
    bad = encode_space_rows("s", {"c": Rows([1], [msgspec.Raw(b"\x01")])})
    with pytest.raises(MalformedMessage):
        space_rows_to_json(bad)
    with pytest.raises(MalformedMessage):
        space_rows_from_json(b'{"space":"s","collections":{"c":{"sequences":[1],"rows":[1]}}}')
    with pytest.raises(MalformedMessage):
        decode_space_rows(b"[]", Media.JSON)


def test_a_large_page_is_opened_in_milliseconds():
    row = msgspec.Raw(CANONICAL_ROW)
    page = encode_space_rows("s", {"c": Rows(list(range(5_000)), [row] * 5_000)})
    start = time.perf_counter()
    decode_space_rows(page)
    assert time.perf_counter() - start < 0.05
