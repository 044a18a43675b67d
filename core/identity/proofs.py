"""Proofs of possession: what a device signs with its Ed25519 key (RFC 8032) to use its session."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

CLOCK_DIFFERENCE_S_MAX: Final = 300
"""A proof is good for five minutes around its time; a phone whose clock is wrong is told ours."""
_SMALL_ORDER: Final = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
"""Encodings of the points of order 1, 2, 4 and 8 without their sign bit (as libsodium lists them):
for such a key anybody can make signatures that verify."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A signature over what is asked for, when (Unix seconds), and a nonce never used before."""

    at_unix_s: int
    nonce: str
    signature: bytes


def signed_bytes(purpose: str, *, subject: str, at_unix_s: int, nonce: str) -> bytes:
    """Return what the device signs: `purpose` names the operation, `subject` what it is about."""
    digest = sha256(subject.encode()).hexdigest()
    return f"skerry-proof-1\n{purpose}\n{at_unix_s}\n{nonce}\n{digest}".encode()


def is_timely(proof: Proof, *, now_unix_s: int) -> bool:
    """Tell whether the proof was made about now."""
    return abs(proof.at_unix_s - now_unix_s) <= CLOCK_DIFFERENCE_S_MAX


def device_id(public: bytes) -> str:
    """Return the id of a device's key: the first 32 hexadecimal digits of its SHA-256."""
    return sha256(public).hexdigest()[:32]


def is_weak(public: bytes) -> bool:
    """Tell whether a public key of 32 bytes proves nothing: its point has a small order."""
    return public[:31] + bytes([public[31] & 0x7F]) in _SMALL_ORDER
