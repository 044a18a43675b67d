"""Media types and content encodings: names, and what a header means."""

from __future__ import annotations

from enum import StrEnum

from sync_protocol.errors import UnsupportedMedia


class Media(StrEnum):
    """How a message is written; both have the same shapes, binary digests are base64 in JSON."""

    MSGPACK = "application/msgpack"
    JSON = "application/json"


class Encoding(StrEnum):
    """How a message body is compressed."""

    IDENTITY = "identity"
    ZSTD = "zstd"
    GZIP = "gzip"


def media_of(content_type: str | None) -> Media:
    """Read a Content-Type; absent means MessagePack. Raise UnsupportedMedia for all others."""
    if content_type is None:
        return Media.MSGPACK
    name, _, parameters = content_type.partition(";")
    try:
        media = Media(name.strip().lower())
    except ValueError:
        raise UnsupportedMedia(f"content type {content_type!r:.60} is not spoken here") from None
    charset = parameters.strip().lower().replace('"', "")
    if charset not in {"", "charset=utf-8"}:
        raise UnsupportedMedia(f"content type {content_type!r:.60} is not spoken here")
    return media


def encoding_of(content_encoding: str | None) -> Encoding:
    """Read a Content-Encoding; absent means identity. Raise UnsupportedMedia for all others."""
    if content_encoding is None:
        return Encoding.IDENTITY
    try:
        return Encoding(content_encoding.strip().lower())
    except ValueError:
        raise UnsupportedMedia(
            f"content encoding {content_encoding!r:.60} is not spoken here"
        ) from None
