"""Content types and encodings: what headers mean."""

import pytest

from sync_protocol.errors import UnsupportedMedia
from sync_protocol.media import Encoding, Media, encoding_of, media_of


@pytest.mark.parametrize(
    ("header", "media"),
    [
        (None, Media.MSGPACK),
        ("application/msgpack", Media.MSGPACK),
        ("Application/JSON", Media.JSON),
        ("application/json; charset=utf-8", Media.JSON),
        (" application/json ; charset=utf-8 ", Media.JSON),
        ('application/json;charset="UTF-8"', Media.JSON),
    ],
)
def test_known_content_types(header, media):
    assert media_of(header) is media


@pytest.mark.parametrize(
    "header", ["", "text/plain", "application/json; charset=latin-1", "application/msgpack2"]
)
def test_unknown_content_types(header):
    with pytest.raises(UnsupportedMedia):
        media_of(header)


def test_encodings():
    assert encoding_of(None) is Encoding.IDENTITY
    assert encoding_of(" ZSTD ") is Encoding.ZSTD
    for header in ("", "br", "gzip, zstd"):
        with pytest.raises(UnsupportedMedia):
            encoding_of(header)
