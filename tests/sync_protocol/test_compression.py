"""Compression: whole bodies come back, bombs and scraps do not."""

import random
import time
import tracemalloc
import zlib
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sync_protocol.compression import compress, decompress
from sync_protocol.errors import MalformedMessage, MessageTooLarge, ProtocolError
from sync_protocol.media import Encoding

ENCODINGS = st.sampled_from(list(Encoding))
LIMIT = 1 << 22


@given(body=st.binary(max_size=5_000), encoding=ENCODINGS)
def test_bodies_come_back(body, encoding):
    assert decompress(compress(body, encoding), encoding, len(body)) == body
    assert compress(body, encoding) == compress(body, encoding)


@given(body=st.binary(min_size=1, max_size=500), encoding=ENCODINGS)
def test_one_byte_over_the_bound_is_too_large(body, encoding):
    with pytest.raises(MessageTooLarge):
        decompress(compress(body, encoding), encoding, len(body) - 1)


@given(
    body=st.binary(max_size=300),
    encoding=st.sampled_from([Encoding.ZSTD, Encoding.GZIP]),
    data=st.data(),
)
def test_damaged_bodies_give_typed_errors(body, encoding, data):
    damaged = bytearray(compress(body, encoding))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ProtocolError):
        assert len(decompress(bytes(damaged), encoding, 1_000)) <= 1_000


@pytest.mark.parametrize("encoding", [Encoding.ZSTD, Encoding.GZIP])
def test_scraps_are_malformed(encoding):
    whole = compress(b"body" * 100, encoding)
    for scrap in (b"", b"\0", whole[:-1], whole + b"\0", whole + whole):
        with pytest.raises(MalformedMessage):
            decompress(scrap, encoding, LIMIT)


def test_an_empty_frame_is_read_to_its_end():
    whole = compress(b"", Encoding.ZSTD)
    assert decompress(whole, Encoding.ZSTD, LIMIT) == b""
    for scrap in (whole[:-1], whole + b"\0", whole + whole):
        with pytest.raises(MalformedMessage):
            decompress(scrap, Encoding.ZSTD, LIMIT)


def streamed(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(body)


def test_zstd_frames_without_a_declared_size_are_read():
    assert decompress(streamed(b"x" * 100_000), Encoding.ZSTD, 100_000) == b"x" * 100_000
    for scrap in (streamed(b"x" * 999)[:-1], streamed(b"x") + b"\0", streamed(b"x" * 9_000) * 2):
        with pytest.raises(MalformedMessage):
            decompress(scrap, Encoding.ZSTD, LIMIT)


BOMB = bytes(200_000_000)


@pytest.mark.parametrize(
    ("bomb", "encoding"),
    [
        (zstandard.ZstdCompressor().compress(BOMB), Encoding.ZSTD),
        (streamed(BOMB), Encoding.ZSTD),
        (streamed(random.Random(7).randbytes(1_000) + BOMB), Encoding.ZSTD),
        (zlib.compress(BOMB, 9, 31), Encoding.GZIP),
    ],
    ids=["declared", "streamed", "noise first", "gzip"],
)
def test_bombs_cost_neither_memory_nor_time(bomb, encoding):
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(MessageTooLarge):
        decompress(bomb, encoding, LIMIT)
    seconds = time.perf_counter() - start
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1
    assert peak_bytes < 4 * LIMIT


def test_wide_windows_are_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = compressor.compress(b"x" * 1_000) + compressor.flush()
    with pytest.raises(MalformedMessage):
        decompress(frame, Encoding.ZSTD, LIMIT)


def test_long_streams_come_back_whole_and_nothing_may_follow_them():
    noise = random.Random(7).randbytes(5_000)
    assert decompress(streamed(noise), Encoding.ZSTD, 5_000) == noise
    with pytest.raises(MalformedMessage):
        decompress(streamed(b"x") + bytes(500), Encoding.ZSTD, LIMIT)
