"""Digests of rows and of sets of rows.

A row's digest is the 128-bit BLAKE2b (RFC 7693) of its canonical bytes, read big endian. A set's
digest is the sum of its rows' digests modulo 2**128 (Bellare and Micciancio 1997, AdHash), so that
one changed row costs one subtraction and one addition, whatever the set's size.

Invariants
  D1  only living rows are summed; a tombstone adds nothing
  D2  a space's digest is the sum of its collections' digests, and these of their buckets' digests
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final
from zlib import crc32

from sync_protocol import limits
from sync_protocol.errors import MalformedMessage

MODULUS: Final = 1 << (8 * limits.DIGEST_BYTES)
ZERO: Final = bytes(limits.DIGEST_BYTES)
"""The digest of no rows."""


def row_digest(row: bytes) -> int:
    """Return the digest of one canonical row (see `rows.encode_row`)."""
    return int.from_bytes(blake2b(row, digest_size=16).digest(), "big")


def bucket_of(row_id: str) -> int:
    """Return the bucket of a row: CRC-32 (ISO-HDLC, as in zlib) of its id modulo BUCKETS."""
    return crc32(row_id.encode()) % limits.BUCKETS


def to_bytes(total: int) -> bytes:
    """Write a sum of digests as 16 bytes, big endian; it may be negative or over the modulus."""
    return (total % MODULUS).to_bytes(limits.DIGEST_BYTES, "big")


def from_bytes(digest: bytes) -> int:
    """Read 16 bytes as a sum of digests; raise MalformedMessage for any other length."""
    if len(digest) != limits.DIGEST_BYTES:
        raise MalformedMessage(f"a digest has {limits.DIGEST_BYTES} bytes, not {len(digest)}")
    return int.from_bytes(digest, "big")


@dataclass(slots=True)
class DigestSum:
    """The digest of a changing set of living rows."""

    total: int = 0

    @classmethod
    def of(cls, digest: bytes) -> DigestSum:
        """Start from a digest written before."""
        return cls(from_bytes(digest))

    def add(self, row: bytes) -> None:
        """Take in the canonical bytes of a living row."""
        self.total = (self.total + row_digest(row)) % MODULUS

    def remove(self, row: bytes) -> None:
        """Take out the canonical bytes of a row that was added before."""
        self.total = (self.total - row_digest(row)) % MODULUS

    def __bytes__(self) -> bytes:
        return to_bytes(self.total)
