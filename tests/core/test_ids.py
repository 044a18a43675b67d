"""Identifiers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import IdentifierError
from core.ids import ID_LENGTH_MAX, is_id, is_name, new_row_id, require_id

TIMES = st.integers(0, 2**48 - 1)
ENTROPY = st.binary(min_size=10, max_size=10)


@given(TIMES, ENTROPY, TIMES, ENTROPY)
def test_row_ids_are_ordered_by_time_then_entropy(t1, e1, t2, e2):
    one, two = new_row_id(now_ms=t1, entropy=e1), new_row_id(now_ms=t2, entropy=e2)
    assert ((t1, e1) < (t2, e2)) == (one < two)
    assert len(one) == 26
    assert is_id(one)


@pytest.mark.parametrize("entropy", [b"", bytes(9), bytes(11)])
def test_row_ids_need_ten_random_bytes(entropy):
    with pytest.raises(IdentifierError):
        new_row_id(now_ms=1, entropy=entropy)


@pytest.mark.parametrize("good", ["a", "A9", "a.b:c_d-e", "0" * ID_LENGTH_MAX])
def test_ids(good):
    assert require_id(good, kind="row") == good


@pytest.mark.parametrize(
    "bad", ["", "-a", ".a", "a b", "a\n", "é", "٣", "a/b", "0" * (ID_LENGTH_MAX + 1), "a\x00"]
)
def test_bad_ids(bad):
    assert not is_id(bad)
    with pytest.raises(IdentifierError) as raised:
        require_id(bad, kind="row")
    assert (raised.value.kind, raised.value.value) == ("row", bad)


@pytest.mark.parametrize(
    ("name", "is_good"),
    [
        ("a", True),
        ("a_b9", True),
        ("a__h", False),
        ("A", False),
        ("9a", False),
        ("_a", False),
        ("a" * 48, True),
        ("a" * 49, False),
        ("a-b", False),
        ("a\n", False),
        ("", False),
    ],
)
def test_names_are_safe_in_sql(name, is_good):
    assert is_name(name) is is_good


def test_a_row_id_is_the_time_and_the_entropy_in_crockfords_base_32():
    assert new_row_id(now_ms=0, entropy=bytes(10)) == "0" * 26
    assert new_row_id(now_ms=2**48 - 1, entropy=b"\xff" * 10) == "7" + "z" * 25
    assert new_row_id(now_ms=2**48, entropy=bytes(10)) == "0" * 26, "later times begin anew"
    # The time is the example of the ULID specification, which writes it 01ARYZ6S41.
    row = new_row_id(now_ms=1_469_918_176_385, entropy=bytes(range(10)))
    assert row == "01aryz6s41" + "000g40r40m30e209"
    assert new_row_id(now_ms=0, entropy=bytes(9) + b"\x21") == "0" * 24 + "11"


def test_row_ids_refuse_entropy_of_another_length_by_name():
    with pytest.raises(IdentifierError) as raised:
        new_row_id(now_ms=1, entropy=bytes(9))
    assert (raised.value.kind, raised.value.value) == ("entropy", bytes(9))


def test_a_bad_id_is_named_and_cut():
    with pytest.raises(IdentifierError, match="not a valid space"):
        require_id("-" + "x" * 200, kind="space")
