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
