"""Blob reference."""

import pytest

from core.crdt.blob_reference import Blob, BlobReference
from core.errors import DeclarationError, FieldError

HASH = "0f" * 32
PHOTO = {"type": "image/png", "size": 3, "sha256": HASH}


def test_the_latest_reference_wins():
    photo = BlobReference()
    parsed = photo.parse(PHOTO)
    assert list(parsed or ()) == ["sha256", "size", "type"]
    assert photo.merge([5, 2, parsed], [6, 2, None]) == [6, 2, None]
    assert photo.value([5, 2, parsed]) == Blob(HASH, 3, "image/png") == photo.proposed(parsed)
    assert photo.value(None) is photo.value([6, 2, None]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": HASH.upper()},
        {"sha256": HASH + "\n"},
        {"sha256": 3},
        {"size": -1},
        {"size": 2**30 + 1},
        {"size": 1.0},
        {"type": "image"},
        {"type": "image/png\n"},
        {"type": "x" * 70 + "/png"},
        {"name": "a.png"},
    ],
)
def test_bad_payloads(change):
    with pytest.raises(FieldError):
        BlobReference().parse({**PHOTO, **change})


def test_the_declared_limit_counts():
    with pytest.raises(FieldError, match="out-of-range"):
        BlobReference(bytes_max=2).parse(PHOTO)
    with pytest.raises(DeclarationError):
        BlobReference(bytes_max=2**31)
    with pytest.raises(FieldError, match="wrong-keys"):
        BlobReference().parse({"sha256": HASH})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sha256": "0f"}, "bad-hash"),
        ({"type": "png"}, "bad-media-type"),
        ({"size": -1}, "out-of-range"),
        ({"type": 3}, "bad-media-type"),
    ],
)
def test_what_is_wrong_is_told(change, code):
    with pytest.raises(FieldError) as raised:
        BlobReference().parse({**PHOTO, **change})
    assert raised.value.code == code


def test_every_key_is_there_and_no_other():
    with pytest.raises(FieldError) as raised:
        BlobReference().parse({"sha256": HASH, "size": 3})
    assert raised.value.code == "wrong-keys"
    with pytest.raises(FieldError) as raised:
        BlobReference().parse({"sha256": HASH, "size": 3, "name": "a.png"})
    assert raised.value.code == "unknown-key"


def test_a_blob_may_be_empty_and_a_limit_one_byte():
    assert BlobReference(bytes_max=1).parse({**PHOTO, "size": 1})
    assert BlobReference(bytes_max=2**30).parse({**PHOTO, "size": 0})
    for bytes_max in (0, -1, 2**30 + 1):
        with pytest.raises(DeclarationError):
            BlobReference(bytes_max=bytes_max)
