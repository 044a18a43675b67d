"""Canonical rows, digests and buckets computed once more, from the specification alone.

Nothing of `sync_protocol` is used: a mistake in it must not agree with itself.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import msgspec


def canonical(value: Any) -> bytes:  # noqa: ANN401  (JSON; one branch for each form)
    """Return a JSON value as MessagePack in its smallest form, maps sorted by their keys' bytes."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode()
        if len(text) < 32:
            return bytes([0xA0 | len(text)]) + text
        return _sized(len(text), (0xD9, 0xDA, 0xDB)) + text
    if isinstance(value, list | tuple):
        head = bytes([0x90 | len(value)]) if len(value) < 16 else _wide(len(value), 0xDC)
        return head + b"".join(map(canonical, value))
    if isinstance(value, dict):
        head = bytes([0x80 | len(value)]) if len(value) < 16 else _wide(len(value), 0xDE)
        items = sorted((key.encode(), key, held) for key, held in value.items())
        return head + b"".join(canonical(key) + canonical(held) for _, key, held in items)
    raise TypeError(type(value).__name__)


def _integer(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack(">b" if value < 0 else ">B", value)
    if value >= 0:
        for mark, form, bound in ((0xCC, ">B", 8), (0xCD, ">H", 16), (0xCE, ">I", 32)):
            if value < 1 << bound:
                return bytes([mark]) + struct.pack(form, value)
        return b"\xcf" + struct.pack(">Q", value)
    for mark, form, bound in ((0xD0, ">b", 7), (0xD1, ">h", 15), (0xD2, ">i", 31)):
        if value >= -(1 << bound):
            return bytes([mark]) + struct.pack(form, value)
    return b"\xd3" + struct.pack(">q", value)


def _sized(size: int, marks: tuple[int, int, int]) -> bytes:
    for mark, form, bound in zip(marks, (">B", ">H", ">I"), (8, 16, 32), strict=True):
        if size < 1 << bound:
            return bytes([mark]) + struct.pack(form, size)
    raise ValueError(size)


def _wide(size: int, mark: int) -> bytes:
    if size < 1 << 16:
        return bytes([mark]) + struct.pack(">H", size)
    return bytes([mark + 1]) + struct.pack(">I", size)


def opened(row: bytes) -> list[Any]:
    """Return a canonical row as `[id, [h, n, alive], {field: state}]`."""
    return msgspec.msgpack.decode(row)


def is_canonical(row: bytes) -> bool:
    """Tell whether a row's bytes are the ones that every replica would write."""
    return canonical(opened(row)) == row


def digest_of(rows: Iterable[bytes]) -> str:
    """Return the digest of a set of rows, in hexadecimal; only living ones count."""
    total = 0
    for row in rows:
        if opened(row)[1][2]:
            total += int.from_bytes(blake2b(row, digest_size=16).digest(), "big")
    return (total % (1 << 128)).to_bytes(16, "big").hex()


def bucket_of(row_id: str) -> int:
    """Return the bucket of a row."""
    return zlib.crc32(row_id.encode()) % 16
