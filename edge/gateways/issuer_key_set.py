"""An issuer's JSON Web Key Set (RFC 7517): which of its keys may verify ID tokens.

Invariants
  Y1  a key has one algorithm, which follows from its kty and curve and must agree with its `alg`:
      what a token says of its algorithm chooses nothing
  Y2  symmetric and private keys, weak and huge ones and those for encryption are passed over
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYS_MAX: Final = 50
"""Issuers publish two to six; more is not a set to search through."""
KID_CHARACTERS_MAX: Final = 255
"""Key ids are fingerprints or dates."""
RSA_BITS_MIN: Final = 2_048
"""RFC 7518, 3.3."""
RSA_BITS_MAX: Final = 8_192
"""A signature by such a key takes a millisecond to verify, by a larger one more."""
RSA_EXPONENT_BITS_MAX: Final = 33
"""65,537 everywhere; the cost of a verification grows with it."""
MEMBER_CHARACTERS_MAX: Final = 1_400
"""Base64url of RSA_BITS_MAX has 1,366: longer numbers are not even decoded."""
_ALGORITHMS: Final[dict[tuple[str, str | None], str]] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key, the one algorithm it is for, and its id if it has one."""

    kid: str | None
    algorithm: str
    public: jwt.PyJWK


class _Key(msgspec.Struct):
    kty: str
    crv: str | None = None
    kid: str | None = None
    alg: str | None = None
    use: str = "sig"
    key_ops: list[str] = msgspec.field(default_factory=lambda: ["verify"])
    d: Any = None
    k: Any = None


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


def parse_keys(content: bytes) -> tuple[IssuerKey, ...]:
    """Return the usable keys of a set; raise ValueError when there are none or too many."""
    try:
        members = msgspec.json.decode(content, type=_KeySet).keys
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("not a set of keys") from None
    if len(members) > KEYS_MAX:
        raise ValueError("too many keys")
    keys = tuple(key for member in members if (key := _usable(member)) is not None)
    if not keys:
        raise ValueError("no usable key")
    return keys


def chosen(keys: Sequence[IssuerKey], kid: str | None) -> IssuerKey | None:
    """Return the one key that a token's `kid` names; without one, the only key of the set."""
    named = keys if kid is None else [key for key in keys if key.kid == kid]
    return named[0] if len(named) == 1 else None


def _usable(member: dict[str, Any]) -> IssuerKey | None:
    if any(isinstance(part, str) and len(part) > MEMBER_CHARACTERS_MAX for part in member.values()):
        # Chains of certificates (x5c) are lists and stay; nobody reads them.
        return None
    try:
        described = msgspec.convert(member, _Key)
        curve = None if described.kty == "RSA" else described.crv
        algorithm = _ALGORITHMS.get((described.kty, curve))
        if (
            algorithm is None
            or described.alg not in (None, algorithm)
            or described.use != "sig"
            or "verify" not in described.key_ops
            or described.d is not None
            or described.k is not None
            or len(described.kid or "") > KID_CHARACTERS_MAX
        ):
            return None
        key = jwt.PyJWK(member, algorithm)
    except (msgspec.ValidationError, jwt.PyJWTError, ValueError, TypeError, OverflowError):
        return None
    return IssuerKey(described.kid, algorithm, key) if _is_sound(key.key) else None


def _is_sound(public: object) -> bool:
    if not isinstance(public, RSAPublicKey):
        return True  # The curve was checked, and cryptography takes no point beside it.
    exponent_bits = public.public_numbers().e.bit_length()
    return (
        RSA_BITS_MIN <= public.key_size <= RSA_BITS_MAX and exponent_bits <= RSA_EXPONENT_BITS_MAX
    )
