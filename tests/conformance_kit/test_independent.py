"""The kit's own sums agree with the protocol's, on the vectors and on whatever else there is."""

from hypothesis import given
from hypothesis import strategies as st

from conformance.server.independent import bucket_of, canonical, digest_of, is_canonical
from conformance.vectors import read
from core.ids import INTEGER_MAX
from sync_protocol.rows import encode_row

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-INTEGER_MAX, INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner)
    ),
    max_leaves=6,
)


def test_the_vectors():
    rows = []
    for each in read("digest.json")["rows"]:
        row = bytes.fromhex(each["canonical"])
        rows.append(row)
        assert is_canonical(row)
        assert canonical(each["row"]) == row
        assert bucket_of(each["row"][0]) == each["bucket"]
        assert digest_of(rows) == each["space_digest_so_far"]


@given(
    st.dictionaries(
        st.text("abz_é\U0001f600", max_size=4), st.lists(VALUES, max_size=3), max_size=4
    )
)
def test_every_row(fields):
    assert canonical(["r", [1, 2, True], fields]) == encode_row("r", (1, 2, True), fields)


def test_long_forms():
    states = {f"f{n}": [n] for n in range(70_000)}
    fields = {"a": ["x" * 70_000, list(range(70_000))], **states}
    assert canonical(["r", [1, 2, True], fields]) == encode_row("r", (1, 2, True), fields)


def test_other_bytes_are_not_canonical():
    row = bytes.fromhex(read("digest.json")["rows"][0]["canonical"])
    assert not is_canonical(row.replace(b"\xa5row-1", b"\xd9\x05row-1"))
