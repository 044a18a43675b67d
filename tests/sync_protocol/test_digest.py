"""Digests: sums that follow single changes, whatever their order."""

import zlib
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_protocol import limits
from sync_protocol.digest import (
    MODULUS,
    ZERO,
    DigestSum,
    bucket_of,
    from_bytes,
    row_digest,
    to_bytes,
)
from sync_protocol.errors import MalformedMessage

ROWS = st.lists(st.binary(max_size=20), max_size=8)


def test_a_row_digest_is_blake2b_read_big_endian():
    assert row_digest(b"row") == int(blake2b(b"row", digest_size=16).hexdigest(), 16)


@given(rows=ROWS, others=ROWS)
def test_removing_undoes_adding_in_any_order(rows, others):
    total = DigestSum()
    for row in rows + others:
        total.add(row)
    for row in reversed(rows):
        total.remove(row)
    expected = DigestSum()
    for row in others:
        expected.add(row)
    assert bytes(total) == bytes(expected)


@given(total=st.integers(-(2**130), 2**130))
def test_sums_wrap_at_the_modulus(total):
    assert from_bytes(to_bytes(total)) == total % MODULUS
    assert bytes(DigestSum.of(to_bytes(total))) == to_bytes(total)


def test_no_rows_are_zero():
    assert bytes(DigestSum()) == ZERO == bytes(16)


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_digest_has_sixteen_bytes(length):
    with pytest.raises(MalformedMessage):
        from_bytes(bytes(length))


@given(row_id=st.text(st.characters(codec="utf-8"), min_size=1, max_size=64))
def test_buckets_are_crc32_of_the_id(row_id):
    assert bucket_of(row_id) == zlib.crc32(row_id.encode("utf-8")) % limits.BUCKETS


def test_ids_made_one_after_another_spread_over_all_buckets():
    assert {bucket_of(f"01j0row{index:019}") for index in range(200)} == set(range(16))
