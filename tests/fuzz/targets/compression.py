"""Compressed bodies: garbage, bombs, and frames that are cut off or followed by more."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Iterator

import zstandard

from sync_protocol.compression import compress, decompress
from sync_protocol.errors import MalformedMessage, MessageTooLarge
from sync_protocol.media import Encoding
from tests.fuzz.target import Target

BOUNDS = (0, 1, 64, 4_096, 65_536)
SLACK_BYTES = 3 * 1024 * 1024
"""What a decompressor may hold beside its result: one slice of a zstd stream grows to 2 MiB."""
ENCODINGS = tuple(Encoding)


def run(content: bytes) -> None:
    """One compressed body; the first byte chooses the encoding and the bound.

    Invariant: the result is within the bound, and so is the memory it took but for a few MiB; what
    was accepted is refused when a byte is missing or follows, and comes back from `compress`.
    Errors: MalformedMessage, MessageTooLarge.
    """
    choice, body = content[0] if content else 0, content[1:]
    encoding = ENCODINGS[choice % len(ENCODINGS)]
    bytes_max = BOUNDS[choice // len(ENCODINGS) % len(BOUNDS)]
    tracemalloc.start()
    try:
        plain = decompress(body, encoding, bytes_max)
    except (MalformedMessage, MessageTooLarge):
        return
    finally:
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak_bytes <= 2 * bytes_max + SLACK_BYTES, f"{peak_bytes} bytes"
    assert len(plain) <= bytes_max
    assert decompress(compress(plain, encoding), encoding, bytes_max) == plain
    if encoding is not Encoding.IDENTITY:
        for damaged in (body[:-1], body + b"\x00"):
            assert _is_refused(damaged, encoding, bytes_max), "a scrap is taken for a whole"


def _is_refused(body: bytes, encoding: Encoding, bytes_max: int) -> bool:
    try:
        decompress(body, encoding, bytes_max)
    except (MalformedMessage, MessageTooLarge):
        return True
    return False


def seeds() -> Iterator[bytes]:
    """Whole frames with and without a declared size, bombs, and several frames in one body."""
    texts = (b"", b"a", b"message " * 40, bytes(range(256)))
    streamed = zstandard.ZstdCompressor(level=3, write_content_size=False)
    for text in texts:
        for place, encoding in enumerate(ENCODINGS):
            for bound in range(len(BOUNDS)):
                body = compress(text, encoding)
                yield bytes([place + bound * len(ENCODINGS)]) + body
        yield bytes([1 + 3 * 3]) + streamed.compress(text)
        yield bytes([1 + 3 * 4]) + streamed.compress(text) + streamed.compress(text)
    bomb = bytes(4 * 1024 * 1024)
    for bound in range(len(BOUNDS)):
        yield bytes([1 + bound * 3]) + streamed.compress(bomb)
        yield bytes([1 + bound * 3]) + compress(bomb, Encoding.ZSTD)
    packed = zlib.compress(bytes(100_000), 9, 31)
    yield bytes([2 + 4 * 3]) + packed


TARGETS = (Target("compression", run, seeds, bytes_max=8_192),)
