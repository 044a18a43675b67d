"""Compression of message bodies, bounded against bombs.

Memory stays within the caller's bound and a few megabytes: a zstd frame that declares a larger size
is refused unread, and all others are cut off at the bound.
"""

from __future__ import annotations

import zlib
from typing import Final

import zstandard

from sync_protocol.errors import MalformedMessage, MessageTooLarge
from sync_protocol.media import Encoding

ZSTD_LEVEL: Final = 3
"""The library's own default: 300 MB/s and more, within a few percent of the levels above it."""
ZSTD_WINDOW_BYTES_MAX: Final = 8 * 1024 * 1024
"""What RFC 8878 section 3.1.1.1.2 asks decoders to support; it bounds their memory."""
GZIP_LEVEL: Final = 5
_GZIP_WBITS: Final = 31
"""zlib's largest window (15) with a gzip header (16)."""


def compress(body: bytes, encoding: Encoding) -> bytes:
    """Compress a message body; the same body gives the same bytes."""
    if encoding is Encoding.ZSTD:
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(body)
    if encoding is Encoding.GZIP:
        return zlib.compress(body, GZIP_LEVEL, _GZIP_WBITS)
    return body


def decompress(body: bytes, encoding: Encoding, bytes_max: int) -> bytes:
    """Undo `compress`; raise MessageTooLarge beyond `bytes_max`, MalformedMessage on garbage."""
    if encoding is Encoding.ZSTD:
        body = _zstd(body, bytes_max)
    elif encoding is Encoding.GZIP:
        body = _gzip(body, bytes_max)
    if len(body) > bytes_max:
        raise MessageTooLarge(bytes_max=bytes_max)
    return body


def _zstd(body: bytes, bytes_max: int) -> bytes:
    try:
        declared = zstandard.get_frame_parameters(body).content_size
        is_declared = declared != zstandard.CONTENTSIZE_UNKNOWN
        if is_declared and declared > bytes_max:
            raise MessageTooLarge(bytes_max=bytes_max)
        reader = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
        if is_declared and declared:
            return reader.decompress(body, allow_extra_data=False)
        # A frame that declares no content is read like a stream: `decompress` would not look at it.
        stream = reader.decompressobj()
        return _bounded_stream(stream, body, bytes_max)
    except zstandard.ZstdError as error:
        raise MalformedMessage("the body is not one whole zstd frame") from error


_SLICE_BYTES: Final = 64
"""Compressed bytes read at once from a frame without a declared size: the densest frame has 128 KiB
blocks of 4 bytes each, so a slice of it grows to 2 MiB."""


def _bounded_stream(stream: zstandard.ZstdDecompressionObj, body: bytes, bytes_max: int) -> bytes:
    pieces: list[bytes] = []
    size_bytes = 0
    for start in range(0, len(body), _SLICE_BYTES):
        if stream.eof:
            raise MalformedMessage("bytes follow the zstd frame")
        pieces.append(stream.decompress(body[start : start + _SLICE_BYTES]))
        size_bytes += len(pieces[-1])
        if size_bytes > bytes_max:
            raise MessageTooLarge(bytes_max=bytes_max)
    if not stream.eof or stream.unused_data:
        raise MalformedMessage("the body is not one whole zstd frame")
    return b"".join(pieces)


def _gzip(body: bytes, bytes_max: int) -> bytes:
    stream = zlib.decompressobj(_GZIP_WBITS)
    try:
        plain = stream.decompress(body, bytes_max + 1)
    except zlib.error as error:
        raise MalformedMessage("the body is not gzip") from error
    if len(plain) > bytes_max:
        raise MessageTooLarge(bytes_max=bytes_max)
    if not stream.eof or stream.unused_data:
        raise MalformedMessage("the body is not one whole gzip member")
    return plain
